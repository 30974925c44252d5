//! Jobs that kill the process that starts them, among others: how many processes die of them, and whether exactly those
//! jobs are condemned.

use std::time::Instant;

use tokio::time::sleep;

use super::experiment::Figures;
use super::fleet::{Fleet, IMAGE, LOOK, PATIENCE};
use crate::bench::Error;

/// Sends so many jobs, of which so many kill, and restarts what dies until all are answered.
pub(super) async fn measure(fleet: &mut Fleet, jobs: usize, killers: usize, replicas: usize) -> Result<Figures, Error> {
    let every = jobs / killers.max(1);
    let mut condemned_are_due = Vec::new();
    for number in 0..jobs {
        let kills = killers > 0 && number % every == every / 2 && condemned_are_due.len() < killers;
        let id = fleet.send(if kills { "sim/abort" } else { IMAGE }).await?;
        if kills {
            condemned_are_due.push(id);
        }
    }
    let (began, mut deaths) = (Instant::now(), 0);
    let mut account = fleet.account().await?;
    while !account.lost.is_empty() && began.elapsed() < PATIENCE {
        // What a supervisor does.
        deaths += fleet.children.bury();
        while fleet.children.ids().len() < replicas {
            fleet.children.start()?;
        }
        sleep(5 * LOOK).await;
        account = fleet.account().await?;
    }
    let mut condemned: Vec<String> = fleet.lobby.all_dead().await?.into_iter().map(|dead| dead.source_ref).collect();
    condemned.sort();
    condemned_are_due.sort();
    let count = |kind: &str| account.outcomes.get(kind).copied().unwrap_or_default();
    let innocents = count("started") + count("replay_no_op");
    let text = format!(
        "{killers} jobs that kill their process among {jobs}: {deaths} processes died, {} condemned ({} of them the right \
         ones), {innocents} of {} others started, in {:.1} s; lost {}, answered twice {}\n",
        condemned.len(),
        condemned.iter().filter(|id| condemned_are_due.contains(id)).count(),
        jobs - killers,
        began.elapsed().as_secs_f64(),
        account.lost.len(),
        account.answered_twice.len(),
    );
    let is_kept = condemned == condemned_are_due && innocents == jobs - killers && account.is_exact();
    Ok(Figures { text, is_kept })
}
