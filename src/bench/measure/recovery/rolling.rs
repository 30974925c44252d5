//! A rolling restart under load: every replica is stopped and started anew, one after the other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep_until;

use super::experiment::Figures;
use super::fleet::{Fleet, IMAGE, PATIENCE, START, ms_of};
use crate::bench::Error;
use crate::lobby::accounting::Sent;
use crate::lobby::client::{Lobby, Outcome};

/// What a rolling restart may add to a job's start.
const HOLD_MAX: Duration = Duration::from_secs(2);

/// Sends at this rate for so long and restarts all the time, at least each replica once.
pub(super) async fn measure(fleet: &mut Fleet, rate: u32, lasts: Duration, replicas: usize) -> Result<Figures, Error> {
    let sender = send_at(fleet.lobby.clone(), rate, lasts);
    let began = Instant::now();
    let restarts = async {
        let mut restarts = 0;
        while began.elapsed() < lasts || restarts < replicas {
            let Some(mut child) = (!fleet.children.living().is_empty()).then(|| fleet.children.living().remove(0))
            else {
                break;
            };
            child.process.signal(Signal::TERM);
            let ended = child.process.wait_async(PATIENCE).await;
            if ended.and_then(|status| status.code()) != Some(0) {
                return Err(Error::Subject(format!("a replica did not drain: {ended:?}")));
            }
            fleet.start().await?;
            restarts += 1;
        }
        Ok(restarts)
    };
    let (sent, restarts) = tokio::try_join!(sender, restarts)?;
    fleet.sent = sent;
    let account = fleet.rest().await?;
    let longest = fleet.lobby.all_outcomes().await?.iter().map(waited).max().unwrap_or_default();
    let beyond = longest.saturating_sub(START);
    let text = format!(
        "{restarts} restarts of {replicas} replicas, one after the other, under {rate} jobs/s: {} jobs, lost {}, answered \
         twice {}, longest from append to outcome beyond the start time {} ms (promised: {} ms)\n",
        account.sent,
        account.lost.len(),
        account.answered_twice.len(),
        beyond.as_millis(),
        HOLD_MAX.as_millis(),
    );
    Ok(Figures { text, is_kept: account.is_exact() && beyond <= HOLD_MAX })
}

/// Sends at a steady rate; answers what was sent.
async fn send_at(lobby: Lobby, rate: u32, lasts: Duration) -> Result<HashMap<String, Sent>, Error> {
    let began = tokio::time::Instant::now();
    let mut sent = HashMap::new();
    for number in 0.. {
        let due = Duration::from_secs(1) * number / rate.max(1);
        if due >= lasts {
            break;
        }
        sleep_until(began + due).await;
        let id = lobby.append(&format!("game-{number}"), IMAGE, 0).await?;
        sent.insert(id.to_string(), Sent::Job);
    }
    Ok(sent)
}

/// From the entry's append to its outcome, both by the server's clock.
fn waited(outcome: &Outcome) -> Duration {
    let appended = outcome.source_ref.as_deref().map_or(u64::MAX, ms_of);
    Duration::from_millis(ms_of(&outcome.id).saturating_sub(appended))
}
