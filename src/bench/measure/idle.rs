//! What an idle fleet costs Redis: two kinds of fleet at the same time, each on a server of its own, and the difference
//! between them. The machine slows down both alike, so the difference is far more exact than the figures of either.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::compare::median;
use super::load::await_up;
use crate::bench::observe::cost::{self, Standing};
use crate::bench::rig::children::{Children, Subject};
use crate::bench::rig::clock::now_ms;
use crate::bench::rig::place::{Pairs, Place, Server, settings_of};
use crate::bench::rig::wire::Wire;
use crate::bench::{Error, SCHEMA_VERSION};
use crate::lobby::client::Lobby;

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct IdleOptions {
    /// Numbers of replicas.
    pub(crate) replicas: Vec<usize>,
    /// Rounds of each.
    pub(crate) rounds: usize,
    /// How long a fleet is measured in a round.
    pub(crate) lasts: Duration,
    /// The program that the fleet is compared with; none: this one with `disconnect-grace=off`.
    pub(crate) old: Option<PathBuf>,
    /// Settings of both fleets.
    pub(crate) settings: Pairs,
    /// What the workers log.
    pub(crate) log_level: String,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct IdleReport {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// `idle`
    pub(crate) kind: &'static str,
    /// When it began, Unix ms.
    pub(crate) began_at_ms: u64,
    /// Cores of the machine.
    pub(crate) cores: usize,
    /// The servers.
    pub(crate) redis: Server,
    /// How long a fleet was measured in a round.
    pub(crate) seconds: f64,
    /// Settings of both fleets.
    pub(crate) settings: Pairs,
    /// What the fleet was compared with: a setting or a program.
    pub(crate) compared_with: String,
    /// The limit of `more_percent`.
    pub(crate) more_percent_max: f64,
    /// One for each number of replicas.
    pub(crate) fleets: Vec<Idle>,
    /// Whether each was within the limit.
    pub(crate) is_kept: bool,
}

/// One size of the fleet; percent of a core that Redis used.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Idle {
    /// How many replicas.
    pub(crate) replicas: usize,
    /// Of what it was compared with, each round.
    pub(crate) before_percent: Vec<f64>,
    /// Of the fleet, each round.
    pub(crate) percent: Vec<f64>,
    /// Median of the rounds' differences.
    pub(crate) more_percent: f64,
}

/// What the fleet may cost more, percent of a core.
const MORE_PERCENT_MAX: f64 = 0.1;
/// After a fleet is up its first renewals, sweeps and runs of the janitor pass.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);

/// The rounds of one size, percent of a core.
struct Sides {
    before: Vec<f64>,
    now: Vec<f64>,
}

/// Runs it: the sizes in turn in every round, and the fleets change servers with every round. `say` gets the round, the
/// number of replicas, and the percent of what is compared with and of the fleet.
pub(crate) async fn run(
    places: [&Place; 2],
    options: &IdleOptions,
    mut say: impl FnMut(usize, usize, [f64; 2]),
) -> Result<IdleReport, Error> {
    let began_at_ms = now_ms();
    let mut sizes: Vec<Sides> =
        options.replicas.iter().map(|_| Sides { before: Vec::new(), now: Vec::new() }).collect();
    for round in 0..options.rounds {
        for (&replicas, sides) in options.replicas.iter().zip(&mut sizes) {
            let [first, second] = places;
            let places = if round % 2 == 0 { [first, second] } else { [second, first] };
            let [before, now] = both(places, &format!("{round}:idle-{replicas}"), options, replicas).await?;
            say(round, replicas, [before, now]);
            sides.before.push(before);
            sides.now.push(now);
        }
    }
    let fleets: Vec<Idle> =
        options.replicas.iter().zip(sizes).map(|(&replicas, sides)| Idle::of(replicas, sides)).collect();
    let off = || "disconnect-grace=off".to_owned();
    Ok(IdleReport {
        schema_version: SCHEMA_VERSION,
        kind: "idle",
        began_at_ms,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        redis: places[0].server.clone(),
        seconds: options.lasts.as_secs_f64(),
        settings: options.settings.clone(),
        compared_with: options.old.as_ref().map_or_else(off, |program| program.display().to_string()),
        more_percent_max: MORE_PERCENT_MAX,
        is_kept: fleets.iter().all(|fleet| fleet.more_percent <= MORE_PERCENT_MAX),
        fleets,
    })
}

/// Starts both fleets, measures what their servers use, and removes them.
async fn both(places: [&Place; 2], part: &str, options: &IdleOptions, replicas: usize) -> Result<[f64; 2], Error> {
    let mut before = Fleet::start(places[0], part, options, replicas, true).await?;
    let mut now = Fleet::start(places[1], part, options, replicas, false).await?;
    let measured = async {
        await_up(&before.lobby, &mut before.children, replicas).await?;
        await_up(&now.lobby, &mut now.children, replicas).await?;
        sleep(SETTLES_WITHIN).await;
        let from = [before.look()?, now.look()?];
        sleep(options.lasts).await;
        let to = [before.look()?, now.look()?];
        match before.children.last_words().or_else(|| now.children.last_words()) {
            Some(words) => Err(Error::Subject(format!("a replica has ended: {words}"))),
            None => Ok([percent(from[0], to[0]), percent(from[1], to[1])]),
        }
    };
    let measured = measured.await;
    before.children.stop().await;
    now.children.stop().await;
    for place in places {
        place.remove_keys(Some(part)).await?;
    }
    measured
}

/// One fleet on its server.
struct Fleet {
    lobby: Lobby,
    children: Children,
    wire: Wire,
    streams: [String; 2],
}

impl Fleet {
    async fn start(
        place: &Place,
        part: &str,
        options: &IdleOptions,
        replicas: usize,
        is_before: bool,
    ) -> Result<Self, Error> {
        let mut pairs = place.settings(part, &options.settings);
        if is_before && options.old.is_none() {
            pairs.push(("disconnect-grace".to_owned(), "off".to_owned()));
        }
        let settings = settings_of(&pairs)?;
        let mut children = Children::new(place, Subject::Worker, &pairs, &options.log_level);
        if let Some(old) = options.old.as_ref().filter(|_| is_before) {
            children.set_program(old.clone());
        }
        for _ in 0..replicas {
            children.start()?;
        }
        let lobby = Lobby::connect(&settings.redis, &settings.stream).await?;
        let streams = [settings.stream.results, settings.stream.dead];
        Ok(Self { lobby, children, wire: place.wire()?, streams })
    }

    fn look(&mut self) -> Result<Standing, Error> {
        Ok(cost::standing(&mut self.wire, self.streams.each_ref().map(String::as_str))?)
    }
}

/// The share of a core that Redis used in between, in percent.
fn percent(from: Standing, to: Standing) -> f64 {
    100.0 * to.redis.since(from.redis).all.as_secs_f64() / to.at.duration_since(from.at).as_secs_f64().max(1e-9)
}

impl Idle {
    fn of(replicas: usize, sides: Sides) -> Self {
        let Sides { before, now } = sides;
        let more_percent = median(before.iter().zip(&now).map(|(before, now)| now - before));
        Self { replicas, before_percent: before, percent: now, more_percent }
    }
}

impl IdleReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "percent of a core that Redis {} with AOF {} used for an idle fleet, {} cores, medians of {} round(s) of {:.0} s, \
             before: {}\n\n{:>8}{:>10}{:>10}{:>10}   {}\n",
            self.redis.version,
            self.redis.aof,
            self.cores,
            self.fleets.first().map_or(0, |one| one.percent.len()),
            self.seconds,
            self.compared_with,
            "replicas",
            "before",
            "now",
            "more",
            "least..most now",
        );
        for one in &self.fleets {
            let of = |side: &[f64]| median(side.iter().copied());
            let least = one.percent.iter().copied().fold(f64::INFINITY, f64::min);
            let most = one.percent.iter().copied().fold(0.0, f64::max);
            // Writing to a String cannot fail.
            _ = writeln!(
                text,
                "{:>8}{:>10.3}{:>10.3}{:>10.3}   {least:.3}..{most:.3}",
                one.replicas,
                of(&one.before_percent),
                of(&one.percent),
                one.more_percent,
            );
        }
        let verdict = if self.is_kept { "kept" } else { "EXCEEDED" };
        _ = writeln!(text, "\nat most {MORE_PERCENT_MAX} % of a core more: {verdict}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::observe::cost::RedisCost;
    use std::time::Instant;

    #[test]
    fn ten_milliseconds_in_ten_seconds_are_a_tenth_of_a_percent() {
        let at = Instant::now();
        let of = |seconds, ms| Standing {
            at: at + Duration::from_secs(seconds),
            answered: 0,
            redis: RedisCost { all: Duration::from_millis(ms), main_thread: None },
        };
        assert!((percent(of(0, 500), of(10, 510)) - 0.1).abs() < 1e-9);
    }

    #[test]
    fn the_difference_is_the_median_of_the_rounds() {
        let sides = Sides { before: vec![1.0, 2.0, 3.0], now: vec![1.5, 2.25, 9.0] };
        assert!((Idle::of(3, sides).more_percent - 0.5).abs() < 1e-9);
    }
}
