//! A crash to order: one replica dies while it holds entries, and how long the others took to answer them.

use std::collections::HashMap;
use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;
use tokio::time::sleep;

use crate::stream::entry_id::EntryId;

use super::stage::{Answers, Error, Stage, now_ms};

/// How long a stopped process's last command may be under way.
const SETTLES_WITHIN: Duration = Duration::from_millis(20);

/// One killed replica.
#[derive(Debug, Clone)]
pub(super) struct Crash {
    pub(super) pid: u32,
    /// The entries that were pending for it when it died.
    pub(super) held: Vec<String>,
    at_ms: u64,
}

/// What became of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Killed {
    /// The killed replica.
    pub(super) pid: u32,
    /// How many entries it held.
    pub(super) held: usize,
    /// From the kill until the last of them was answered; none where one was not.
    pub(super) recovery_ms: Option<u64>,
}

/// Kills the replica that holds most, if one holds anything just now.
pub(super) async fn kill_one(stage: &mut Stage) -> Result<Option<Crash>, Error> {
    let mut held: HashMap<String, usize> = HashMap::new();
    for pending in stage.lobby.pending().await? {
        *held.entry(pending.consumer).or_default() += 1;
    }
    let Some((consumer, _)) = held.into_iter().max_by_key(|(_, count)| *count) else {
        return Ok(None);
    };
    let Some(pid) = stage.lobby.replicas().await?.get(&consumer).copied() else {
        return Ok(None);
    };
    let Some(number) = stage.fleet.replicas().position(|replica| replica.process().id() == pid) else {
        return Ok(None);
    };
    // Stopped first, so that what it holds does not change between the look and the kill.
    stage.fleet.replica(number).process().signal(Signal::STOP);
    sleep(SETTLES_WITHIN).await;
    let pending = stage.lobby.pending().await;
    let held: Vec<String> =
        pending?.into_iter().filter(|pending| pending.consumer == consumer).map(|pending| pending.id).collect();
    let process = stage.fleet.replica(number).process();
    if held.is_empty() {
        process.signal(Signal::CONT);
        return Ok(None);
    }
    let at_ms = now_ms();
    process.kill();
    Ok(Some(Crash { pid, held, at_ms }))
}

impl Crash {
    /// Reads the recovery off the ids of the answers: Redis made them, on this machine's clock.
    pub(super) fn recovery(&self, answers: &Answers) -> Killed {
        let outcomes =
            answers.outcomes.iter().map(|outcome| (outcome.source_ref.as_deref().unwrap_or(""), &outcome.id));
        let dead = answers.dead.iter().map(|letter| (letter.source_ref.as_str(), &letter.id));
        let answered: HashMap<&str, &String> = outcomes.chain(dead).collect();
        let times: Option<Vec<u64>> =
            self.held.iter().map(|id| answered.get(id.as_str())?.parse::<EntryId>().ok().map(|id| id.ms)).collect();
        let last = times.and_then(|times| times.into_iter().max());
        Killed { pid: self.pid, held: self.held.len(), recovery_ms: last.map(|last| last.saturating_sub(self.at_ms)) }
    }
}
