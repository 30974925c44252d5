//! The worker's side: real replicas on the engine, asked by a Lobby that keeps as many jobs unanswered as there are slots.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::options::{ContainersOptions, Started};
use crate::bench::Error;
use crate::bench::measure::load::await_up;
use crate::bench::observe::cost::ProcessCost;
use crate::bench::rig::children::{Children, Subject};
use crate::bench::rig::clock::now_ms;
use crate::bench::rig::place::{Place, settings_of};
use crate::lobby::client::{Lobby, Outcome};

const UP_WITHIN: Duration = Duration::from_secs(30);
/// How long no answer at all may come.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Starts all of these games by a fleet of its own, which ends before this returns; answers also what the replicas
/// used.
pub(crate) async fn start_all(
    place: &Place,
    part: &str,
    options: &ContainersOptions,
    games: &[String],
) -> Result<(Started, ProcessCost), Error> {
    let pairs = place.settings(part, &options.settings());
    let settings = settings_of(&pairs)?;
    let lobby = Lobby::connect_within(&settings.redis, &settings.stream, UP_WITHIN).await?;
    let mut children = Children::new(place, Subject::Worker, &pairs, &options.log_level);
    for host in &options.hosts {
        for _ in 0..options.replicas {
            children.start_with(&host.settings())?;
        }
    }
    let replicas = options.hosts.len() * options.replicas;
    let started = async {
        await_up(&lobby, &mut children, replicas).await?;
        let before = children.cost();
        let started = ask(&lobby, &mut children, options, games).await?;
        let after = children.cost();
        Ok((started, ProcessCost { cpu: after.cpu.saturating_sub(before.cpu), ..after }))
    };
    let started = started.await;
    children.stop().await;
    place.remove_keys(Some(part)).await?;
    started
}

async fn ask(
    lobby: &Lobby,
    children: &mut Children,
    options: &ContainersOptions,
    games: &[String],
) -> Result<Started, Error> {
    let mut seen = lobby.results_end().await?;
    let began = Instant::now();
    let mut asked: HashMap<String, Instant> = HashMap::new();
    let mut waiting = games.iter();
    let mut each = Vec::with_capacity(games.len());
    let mut last = Instant::now();
    while each.len() < games.len() {
        while asked.len() < options.in_flight()
            && let Some(game) = waiting.next()
        {
            let at = Instant::now();
            let id = lobby.append(game, &options.image, now_ms()).await?;
            asked.insert(id.to_string(), at);
        }
        for outcome in lobby.outcomes_after(&seen).await? {
            last = Instant::now();
            seen.clone_from(&outcome.id);
            let at = outcome.source_ref.as_ref().and_then(|source| asked.remove(source));
            each.extend(at.map(|at| at.elapsed()));
            refuse(&outcome)?;
        }
        if let Some(words) = children.last_words() {
            return Err(Error::Subject(format!("a replica has ended: {words}")));
        }
        if last.elapsed() > SILENCE_MAX {
            return Err(Error::Subject(format!("no answer for {SILENCE_MAX:?}")));
        }
    }
    Ok(Started { took: began.elapsed(), each })
}

/// A failure would be fast and worthless.
fn refuse(outcome: &Outcome) -> Result<(), Error> {
    if outcome.outcome == "success" {
        return Ok(());
    }
    Err(Error::Subject(format!("game {}: {}: {}", outcome.game_id, outcome.error_code, outcome.error_message)))
}
