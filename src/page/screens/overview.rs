//! The overview: how is the fleet, who notices, what is to be done?

use std::collections::BTreeMap;
use std::fmt::Write as _;

use maud::{Markup, html};

use super::{charts, happened};
use crate::ops::events::EventView;
use crate::ops::replicas::{Replica, State};
use crate::page::frame::events::{Event, events};
use crate::page::frame::flow::{Step, flow};
use crate::page::frame::hosts::{Chip, hosts};
use crate::page::frame::icons::Icon;
use crate::page::frame::problem::problem;
use crate::page::frame::shell::Tab;
use crate::page::frame::tone::Tone;
use crate::page::frame::verdict::verdict;
use crate::page::judged::{judged, word};
use crate::page::looks::Fleet;
use crate::page::site::{Asked, Frame, as_it_was, framed};
use crate::page::text;
use crate::page::when::lasting;

/// Hosts that are named in one line.
const HOSTS_MAX: usize = 24;

/// The page.
pub(crate) fn page(asked: &Asked) -> Markup {
    let frame = Frame {
        title: word(&asked.seen).to_owned(),
        tab: Tab::Overview,
        command: "startjobs status --watch 1s".to_owned(),
        live: "overview",
        has_mini: false,
    };
    let parts = parts(asked);
    framed(asked, frame, &html! { @for (_, part) in &parts { (part) } })
}

/// What renews itself, each under the id of its element.
pub(crate) fn parts(asked: &Asked) -> Vec<(&'static str, Markup)> {
    let (said, problems) = judged(&asked.seen);
    let problems = html! { @for one in &problems { (problem(one, |at_ms| asked.when.since(at_ms))) } };
    let mut parts = vec![("health", verdict(&said, &problems)), ("asof", as_it_was(asked))];
    if let Some(fleet) = &asked.seen.fleet {
        parts.push(("flow", flow(&steps(fleet))));
        parts.push(("hosts", host_line(fleet)));
        parts.push(("charts", charts::charts(asked, fleet)));
        parts.push(("events", what_happened(asked, fleet)));
    }
    parts
}

fn steps(fleet: &Fleet) -> Vec<Step> {
    let snapshot = &fleet.overview.snapshot;
    let oldest = |age: Option<u64>, nothing: &'static str| {
        html! { @if let Some(age) = age { "oldest for " b { (lasting(age)) } } @else { (nothing) } }
    };
    let waiting = &snapshot.waiting.waiting;
    let at_least = if waiting.exact { "" } else { "at least " };
    let step = |icon, name, value, href| Step {
        icon,
        name,
        per: "",
        value,
        beside: String::new(),
        said: html! {},
        is_bad: false,
        href,
        is_fork: false,
    };
    let backing_off = fleet.backing_off.unwrap_or_default();
    let backs_off = Step {
        said: match backing_off.next_at_ms {
            Some(at_ms) if at_ms > fleet.overview.at_ms => html! {
                "next try in " b { (lasting(at_ms - fleet.overview.at_ms)) }
            },
            Some(_) => html! { "the next try is due" },
            None if fleet.backing_off.is_none() => html! { "cannot be read" },
            None => html! { "nothing waits for another try" },
        },
        is_bad: backing_off.count > 0,
        ..step(
            Icon::Retry,
            "Backing off",
            fleet.backing_off.map_or_else(|| "not known".to_owned(), |one| text::count(one.count)),
            "/jobs?state=backing_off",
        )
    };
    let in_hand = snapshot.in_flight.count.saturating_sub(backing_off.count);
    vec![
        Step {
            said: oldest(snapshot.waiting.oldest_age_ms, "nothing waits"),
            ..step(Icon::Wait, "Waiting", format!("{at_least}{}", text::count(waiting.count)), "/jobs?state=waiting")
        },
        Step {
            beside: format!("of {}", text::of(snapshot.replicas.slots, "slot", "slots")),
            said: oldest(snapshot.in_flight.oldest_age_ms, "nothing is in hand"),
            ..step(Icon::Run, "In flight", text::count(in_hand), "/jobs?state=in_flight")
        },
        backs_off,
        answered(fleet, "Started", Icon::Ok),
        answered(fleet, "Failed", Icon::Crit),
        Step {
            said: html! { "kept to be looked at" },
            is_fork: true,
            ..step(Icon::Dead, "Dead letters", text::count(snapshot.dead_letters), "/dead")
        },
    ]
}

/// What the last hour brought: games that were started, or jobs that failed.
fn answered(fleet: &Fleet, name: &'static str, icon: Icon) -> Step {
    let tally = fleet.hour.as_ref().and_then(|hour| hour.total.as_ref()).map(|total| &total.tally);
    let (started, failed) = tally.map_or((0, 0), |tally| (tally.started + tally.replayed, tally.failures()));
    let is_failed = name == "Failed";
    let share = |part: u64, whole: u64| part.saturating_mul(1_000).checked_div(whole);
    let said = match tally {
        None if fleet.hour.is_none() => html! { "cannot be read" },
        None => html! { "nothing is recorded yet" },
        Some(tally) if is_failed => html! {
            @match tally.failed.iter().max_by_key(|(_, count)| **count) {
                Some((code, count)) => { (text::count(*count)) " " code { (code) } }
                None => "no job has failed"
            }
        },
        Some(_) => html! {
            @match share(started, started + failed) {
                Some(share) => { b { (share / 10) "." (share % 10) " %" } " of all answers" }
                None => "nothing was answered"
            }
        },
    };
    let value = if is_failed { failed } else { started };
    Step {
        icon,
        name,
        per: "last hour",
        value: if tally.is_some() { text::count(value) } else { "\u{2013}".to_owned() },
        beside: String::new(),
        said,
        is_bad: false,
        href: if is_failed { "/jobs?state=failed" } else { "/jobs" },
        is_fork: is_failed,
    }
}

/// How many replicas of a host do what.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    running: u64,
    draining: u64,
    gone: u64,
}

fn host_line(fleet: &Fleet) -> Markup {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for replica in fleet.replicas.iter().filter(|replica| !matches!(replica.state, State::Left)) {
        let tally = tallies.entry(host_of(replica)).or_default();
        match replica.state {
            State::Running => tally.running += 1,
            State::Draining => tally.draining += 1,
            _ => tally.gone += 1,
        }
    }
    let more = tallies.len().saturating_sub(HOSTS_MAX) as u64;
    let chips: Vec<Chip> = tallies.into_iter().take(HOSTS_MAX).map(|(name, tally)| chip(name, tally)).collect();
    let counts = fleet.overview.snapshot.replicas;
    let beside =
        format!("{} running, {} draining, {} lost", counts.running, counts.draining, counts.dead + counts.lost);
    hosts(&chips, more, &beside)
}

fn chip(name: String, tally: Tally) -> Chip {
    let Tally { running, draining, gone } = tally;
    let mut said = format!("{running} of {}", running + draining + gone);
    if draining > 0 {
        // Writing to a String cannot fail.
        _ = write!(said, ", {draining} draining");
    }
    if gone > 0 {
        _ = write!(said, ", {gone} lost");
    }
    let (tone, icon) = match (gone, running) {
        (1.., 0) => (Tone::Crit, Icon::Lost),
        (1.., _) => (Tone::Warn, Icon::Lost),
        (0, 0) => (Tone::Info, Icon::Drain),
        (0, _) => (Tone::Ok, Icon::Ok),
    };
    Chip { name, tone, icon, said }
}

/// The host whose games a replica starts, or the machine it is on.
pub(crate) fn host_of(replica: &Replica) -> String {
    let host = replica.engine_host.as_ref().or(replica.host.as_ref());
    host.cloned().unwrap_or_else(|| "host not known".to_owned())
}

fn what_happened(asked: &Asked, fleet: &Fleet) -> Markup {
    let all: Vec<Event> = fleet.events.iter().flatten().map(event).collect();
    let nothing = match &fleet.events {
        Some(_) => {
            "Nothing is kept: no attempt has failed, no replica came or went, and operators have changed nothing."
        }
        None => {
            "What happened cannot be read: the key <jobs>:events holds something else, or this user may not read it."
        }
    };
    events(&all, nothing, |at_ms| asked.at(at_ms))
}

fn event(event: &EventView) -> Event {
    let (icon, tone) = happened::drawn(&event.kind);
    let said = html! {
        (happened::said(event))
        @if let Some(id) = &event.entry_id {
            " " a href={ "/jobs/" (text::encoded(id)) } {
                @match &event.game_id { Some(game) => (text::name(game)), None => (text::name(id)) }
            }
        }
    };
    Event { at_ms: event.at_ms, icon, tone, said }
}
