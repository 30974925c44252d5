//! What is shown of the fleet: texts that a terminal does not obey, and the history.

use crate::cli::output::or_dash;
use crate::cli::session::Session;
use crate::ops::events::EventView;
use crate::ops::history::{Range, Timeline};
use crate::ops::hosts::HostView;
use crate::ops::overview::Overview;
use crate::ops::printable::{printable, span, time};
use crate::ops::replicas::Replica;
use crate::ops::verdict::Health;
use crate::redis::RedisError;

/// Waiting entries that are counted one by one at most: it is looked every second.
const COUNTED_MAX: u64 = 10_000;

/// Events that are shown.
const EVENTS_MAX: usize = 100;

/// The fleet at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// The server's clock, Unix milliseconds.
    pub(super) at_ms: u64,
    /// Whether it is healthy.
    pub(super) health: Health,
    /// The same, for people.
    pub(super) sentence: String,
    /// What is wrong, one sentence each.
    pub(super) problems: Vec<String>,
    /// What fires or is about to, and the runbook.
    pub(super) alerts: Vec<[String; 2]>,
    /// How many of what there are.
    pub(super) numbers: Vec<(&'static str, String)>,
    /// Name, state, up, slots, in flight, pending, last seen.
    pub(super) replicas: Vec<[String; 7]>,
    /// Name, standing, replicas, slots, in flight, games, last heard.
    pub(super) hosts: Vec<[String; 7]>,
    /// What happened lately, the newest first: when, and in words.
    pub(super) events: Vec<[String; 2]>,
    /// What was done.
    pub(super) timeline: Timeline,
}

/// Looks at the fleet.
pub(super) async fn look(session: &Session, range: Range) -> Result<Facts, RedisError> {
    let overview = session.ask(session.view.overview(COUNTED_MAX)).await?;
    let look = session.ask(session.view.look()).await?;
    let replicas = session.view.replicas(&look).replicas;
    let timeline = session.ask(session.view.history(range)).await?;
    let events = session.ask(session.view.events(None, EVENTS_MAX)).await?.events;
    Ok(of(&overview, &replicas, &events, timeline))
}

fn of(overview: &Overview, replicas: &[Replica], events: &[EventView], timeline: Timeline) -> Facts {
    let Overview { at_ms, verdict, snapshot, alerts, .. } = overview;
    Facts {
        at_ms: *at_ms,
        health: verdict.health,
        sentence: printable(&verdict.sentence),
        problems: verdict.problems.iter().map(|problem| printable(&problem.sentence)).collect(),
        alerts: alerts.iter().map(|alert| [alert.soon(), alert.runbook.clone()]).collect(),
        numbers: numbers(overview),
        replicas: replicas.iter().map(replica).collect(),
        hosts: snapshot.hosts.listed.iter().map(host).collect(),
        events: events.iter().map(event).collect(),
        timeline,
    }
}

fn event(event: &EventView) -> [String; 2] {
    let game = event.game_id.as_deref().map_or_else(String::new, |game| format!("{game}: "));
    [time(event.at_ms).get(11..19).unwrap_or("-").to_owned(), printable(&format!("{game}{}", event.sentence()))]
}

fn numbers(Overview { snapshot, .. }: &Overview) -> Vec<(&'static str, String)> {
    let older = |age: Option<u64>| age.map_or_else(String::new, |age| format!(", the oldest for {}", span(age)));
    let counts = snapshot.replicas;
    let gone = counts.dead + counts.lost;
    let gone = if gone > 0 { format!(", {gone} dead or lost") } else { String::new() };
    vec![
        ("waiting", format!("{}{}", snapshot.waiting.waiting.text(), older(snapshot.waiting.oldest_age_ms))),
        ("in flight", format!("{}{}", snapshot.in_flight.count, older(snapshot.in_flight.oldest_age_ms))),
        ("backing off", snapshot.backing_off.count.to_string()),
        ("dead letters", snapshot.dead_letters.to_string()),
        ("replicas", format!("{} alive, {} draining{gone}", counts.alive, counts.draining)),
        ("slots", counts.slots.to_string()),
        ("hosts", or_dash(snapshot.hosts.counted())),
    ]
}

fn replica(replica: &Replica) -> [String; 7] {
    let number = |number: Option<u64>| or_dash(number.map(|number| number.to_string()));
    [
        printable(&replica.name),
        replica.state.as_str().to_owned(),
        or_dash(replica.up_ms.map(span)),
        number(replica.slots),
        number(replica.in_flight),
        replica.pending.to_string(),
        or_dash(replica.last_seen_ago_ms.map(span)),
    ]
}

fn host(host: &HostView) -> [String; 7] {
    [
        printable(&host.host),
        host.standing.to_owned(),
        host.replicas.to_string(),
        host.slots.to_string(),
        host.in_flight.to_string(),
        or_dash(host.games_text()),
        or_dash(host.last_heard_ago_ms.map(span)),
    ]
}
