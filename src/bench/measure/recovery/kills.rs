//! Replicas that die or freeze while all slots are busy: how long the others take to answer what the victim held.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use super::experiment::{Death, Figures, Kills};
use super::fleet::{Fleet, LOOK, PATIENCE, START, ms_of};
use crate::bench::Error;
use crate::bench::rig::clock::now_ms;
use crate::lobby::client::Lobby;
use crate::settings::Settings;

/// What is promised at p99 beyond the start's own time where the victim's death is noticed by its connection.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);
/// What is promised at p99 where only the victim's silence tells: claim idle and this, the start included. A job may become
/// due just after a sweep, and where slots are scarce it takes two.
const CLAIMED_WITHIN: Duration = Duration::from_secs(1);
/// How long a frozen process's last command may be under way.
const SETTLES_WITHIN: Duration = Duration::from_millis(20);

/// A replica that was frozen while all its slots were busy.
struct Frozen {
    /// When, Unix ms.
    at_ms: u64,
    /// The entries in its hand.
    held: Vec<String>,
}

/// What is promised at p99, beyond the start's own time.
pub(super) fn promised(by: Death, settings: &Settings) -> Duration {
    if settings.worker.disconnect_grace.is_some() && by.closes_connections() {
        NOTICED_WITHIN
    } else {
        (settings.worker.claim_idle + CLAIMED_WITHIN).saturating_sub(START)
    }
}

/// Lets replicas end one after the other, each while the slots of the whole fleet are busy.
pub(super) async fn measure(
    fleet: &mut Fleet,
    kills: &Kills,
    replicas: usize,
    slots: usize,
    promised: Duration,
    say: &mut dyn FnMut(&str),
) -> Result<Figures, Error> {
    let (mut took, mut held, mut seen) = (Vec::new(), 0, "0-0".to_owned());
    let busy = Busy { replicas, slots };
    for number in 0..kills.count {
        let victim = number % replicas;
        let frozen = busy.freeze(fleet, victim).await?;
        let died = end(fleet, victim, kills.by, &frozen).await;
        let (lobby, over) = (fleet.lobby.clone(), Cell::new(false));
        let all_answered = async {
            let last = answered(&lobby, &frozen.held, &mut seen).await;
            over.set(true);
            last
        };
        over.set(kills.pauses);
        // Not one dropped for the other: a job whose sending is cut off would be missing in the account.
        let (last, kept) = tokio::join!(all_answered, busy.keep(fleet, &over));
        kept?;
        let last = last?;
        let one = Duration::from_millis(last.saturating_sub(died));
        say(&format!(
            "{} of {}: {} jobs answered after {} ms",
            number + 1,
            kills.count,
            frozen.held.len(),
            one.as_millis()
        ));
        took.push(one);
        held += frozen.held.len();
        if kills.by == Death::Stop {
            fleet.children.kill(victim);
        }
        fleet.start().await?;
    }
    let account = fleet.rest().await?;
    let condemned = fleet.lobby.all_dead().await?.len();
    took.sort();
    let beyond: Vec<Duration> = took.iter().map(|took| took.saturating_sub(START)).collect();
    let text = format!(
        "{} of one replica of {replicas}, {} times, with all {slots} slots of each busy; {held} jobs in hand\n\
         to the last of them answered    {}\n\
         beyond the start's own {} ms   {} (promised at p99: {} ms)\n\
         lost {}, answered twice {}, condemned {condemned}\n",
        kills.by.signal(),
        kills.count,
        quantiles(&took),
        START.as_millis(),
        quantiles(&beyond),
        promised.as_millis(),
        account.lost.len(),
        account.answered_twice.len(),
    );
    Ok(Figures { text, is_kept: at(&beyond, 99) <= promised && account.is_exact() && condemned == 0 })
}

/// Ends the frozen victim; answers when it ended, Unix ms.
async fn end(fleet: &mut Fleet, victim: usize, by: Death, frozen: &Frozen) -> u64 {
    let at_ms = now_ms();
    match by {
        Death::Kill => drop(fleet.children.kill(victim)),
        Death::Abort => {
            let mut child = fleet.children.living().remove(victim);
            child.process.signal(Signal::ABORT);
            // A frozen process takes no other signal than SIGKILL.
            child.process.signal(Signal::CONT);
            child.process.wait_async(PATIENCE).await;
        }
        Death::Stop => return frozen.at_ms,
    }
    at_ms
}

/// How busy a fleet is kept.
struct Busy {
    replicas: usize,
    slots: usize,
}

impl Busy {
    /// Twice what all of them can hold.
    fn waiting(&self) -> usize {
        2 * self.replicas * self.slots
    }

    /// Keeps the slots of the whole fleet busy until it is over.
    async fn keep(&self, fleet: &mut Fleet, over: &Cell<bool>) -> Result<(), Error> {
        while !over.get() {
            fleet.top_up(self.waiting()).await?;
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Sends until this replica holds as many entries as it has slots, and freezes it then.
    async fn freeze(&self, fleet: &mut Fleet, victim: usize) -> Result<Frozen, Error> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            fleet.top_up(self.waiting()).await?;
            let process = &fleet.children.living()[victim].process;
            let (at_ms, pid) = (now_ms(), process.id());
            process.signal(Signal::STOP);
            sleep(SETTLES_WITHIN).await;
            let held = held_by(&fleet.lobby, pid).await?;
            if held.len() >= self.slots {
                return Ok(Frozen { at_ms, held });
            }
            fleet.children.living()[victim].process.signal(Signal::CONT);
            sleep(LOOK).await;
        }
        Err(Error::Subject("the replica never had all its slots busy".to_owned()))
    }
}

async fn held_by(lobby: &Lobby, pid: u32) -> Result<Vec<String>, Error> {
    let replicas = lobby.replicas().await?;
    let Some(consumer) = replicas.into_iter().find(|(_, id)| *id == pid).map(|(consumer, _)| consumer) else {
        return Ok(Vec::new());
    };
    let pending = lobby.pending().await?;
    Ok(pending.into_iter().filter(|one| one.consumer == consumer).map(|one| one.id).collect())
}

/// Waits until all of these are answered; answers when the last was, by the server's clock.
async fn answered(lobby: &Lobby, ids: &[String], seen: &mut String) -> Result<u64, Error> {
    let mut open: Vec<&String> = ids.iter().collect();
    let (mut last, deadline) = (0, Instant::now() + PATIENCE);
    while !open.is_empty() && Instant::now() < deadline {
        for outcome in lobby.outcomes_after(seen).await? {
            if let Some(position) = open.iter().position(|id| Some(id.as_str()) == outcome.source_ref.as_deref()) {
                open.swap_remove(position);
                last = last.max(ms_of(&outcome.id));
            }
            seen.clone_from(&outcome.id);
        }
    }
    if open.is_empty() { Ok(last) } else { Err(Error::Subject(format!("never answered: {open:?}"))) }
}

/// The time that this share of them, in hundredths, is within; they are sorted.
fn at(sorted: &[Duration], share: usize) -> Duration {
    sorted.get((sorted.len() * share).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

fn quantiles(sorted: &[Duration]) -> String {
    let [p50, p99, max] = [50, 99, 100].map(|share| at(sorted, share).as_millis());
    format!("p50 {p50} ms, p99 {p99} ms, max {max} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_the_second_longest_is_p99() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantiles(&times), "p50 50 ms, p99 99 ms, max 100 ms");
        assert_eq!(quantiles(&times[..1]), "p50 1 ms, p99 1 ms, max 1 ms");
        assert_eq!(quantiles(&[]), "p50 0 ms, p99 0 ms, max 0 ms");
    }
}
