//! One experiment from its settings to its figures.

use std::collections::HashMap;

use super::beside::Beside;
use super::experiment::{Experiment, Figures};
use super::fleet::{Fleet, START};
use super::{kills, poison, rolling};
use crate::bench::Error;
use crate::bench::rig::children::{Children, Subject};
use crate::bench::rig::place::{Pairs, Place, settings_of};
use crate::lobby::client::Lobby;

/// Runs one experiment with this many replicas; `more` are further settings of theirs. `say` gets a line for each step.
pub(crate) async fn run(
    place: &Place,
    experiment: &Experiment,
    replicas: usize,
    more: &Pairs,
    say: &mut dyn FnMut(&str),
) -> Result<Figures, Error> {
    let mut pairs: Pairs = vec![("simulated-latency".to_owned(), humantime::format_duration(START).to_string())];
    if matches!(experiment, Experiment::Poison { .. }) {
        pairs.push(("allow-fault-injection".to_owned(), "on".to_owned()));
    }
    pairs.extend_from_slice(more);
    let pairs = place.settings("recovery", &pairs);
    let settings = settings_of(&pairs)?;
    let lobby = Lobby::connect(&settings.redis, &settings.stream).await?;
    let mut fleet = Fleet {
        children: Children::new(place, Subject::Worker, &pairs, "info"),
        lobby,
        sent: HashMap::new(),
        jobs: settings.stream.jobs.clone(),
        // A replica renews at least so often, and hears itself then if it ever does.
        hears_within: settings.worker.disconnect_grace.map(|_| settings.worker.renewal_interval()),
    };
    for _ in 0..replicas {
        fleet.start().await?;
    }
    let figures = match experiment {
        Experiment::Kills(kills) => {
            let promised = kills::promised(kills.by, &settings);
            let measured = kills::measure(&mut fleet, kills, replicas, settings.worker.slots, promised, say);
            beside_drains(place, kills.drain_beside, measured).await
        }
        Experiment::Poison { jobs, killers } => poison::measure(&mut fleet, *jobs, *killers, replicas).await,
        Experiment::Rolling { rate, lasts } => rolling::measure(&mut fleet, *rate, *lasts, replicas).await,
    };
    fleet.children.stop().await;
    figures
}

/// Measures while backlogs of so many jobs are drained.
async fn beside_drains(
    place: &Place,
    jobs: Option<u64>,
    measured: impl Future<Output = Result<Figures, Error>>,
) -> Result<Figures, Error> {
    let Some(jobs) = jobs else { return measured.await };
    let mut beside = Beside::new(jobs);
    let Figures { text, is_kept } = tokio::select! {
        figures = measured => figures?,
        failed = beside.run(place) => return Err(failed),
    };
    Ok(Figures { text: text + &beside.text(place)?, is_kept: is_kept && beside.is_exact() })
}
