//! Replicas and hosts: which host, which process?

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::drain;
use super::overview::host_of;
use super::refused::absent;
use crate::ops::hosts::HostView;
use crate::ops::replicas::{Replica, State};
use crate::page::frame::empty::empty;
use crate::page::frame::hosts::anchor;
use crate::page::frame::icons::{Icon, inked};
use crate::page::frame::meter::meter;
use crate::page::frame::shell::Tab;
use crate::page::frame::table::{Column, table};
use crate::page::frame::tag::tag;
use crate::page::frame::tone::Tone;
use crate::page::looks::Fleet;
use crate::page::site::{Asked, Frame, framed};
use crate::page::text;
use crate::page::when::lasting;

/// Replicas that are listed; of more, only how many is told.
const LISTED_MAX: usize = 200;

/// What can be done with a replica, for those who may do it.
const ACTION: Column = Column::silent("Action", "nw");

const COLUMNS: [Column; 7] = [
    Column::new("Replica", "lead"),
    Column::new("State", "st"),
    Column::new("Up", "nw lab"),
    Column::new("Slots in use", "tell lab"),
    Column::new("Holds", "num lab"),
    Column::new("Last seen", "nw lab"),
    Column::new("Version", "nw lab"),
];

/// The page.
pub(crate) fn page(asked: &Asked) -> Markup {
    let Some(part) = parts(asked).pop() else {
        let said = html! { "This process has not seen the fleet yet: Redis does not answer." };
        return absent(asked, Tab::Replicas, "Replicas and hosts", &said);
    };
    let frame = Frame {
        title: "Replicas".to_owned(),
        tab: Tab::Replicas,
        command: "startjobs replicas".to_owned(),
        live: "replicas",
        has_mini: true,
    };
    framed(asked, frame, &html! { div.head { h1 { "Replicas and hosts" } (drain::form(asked)) } (part.1) })
}

/// What renews itself.
pub(crate) fn parts(asked: &Asked) -> Vec<(&'static str, Markup)> {
    let Some(fleet) = &asked.seen.fleet else { return Vec::new() };
    let counts = fleet.overview.snapshot.replicas;
    let used: u64 = fleet.replicas.iter().filter_map(|replica| replica.in_flight).sum();
    let rows = html! {
        div #rows .stack {
            p.muted {
                (counts.running) " running, " (counts.draining) " draining, " (counts.dead + counts.lost) " lost; "
                (text::count(used)) " of " (text::of(counts.slots, "slot", "slots")) " in use"
            }
            (panels(asked, fleet))
        }
    };
    vec![("rows", rows)]
}

fn panels(asked: &Asked, fleet: &Fleet) -> Markup {
    let mut hosts: BTreeMap<String, Vec<&Replica>> = BTreeMap::new();
    for host in &fleet.overview.snapshot.hosts.listed {
        hosts.entry(host.host.clone()).or_default();
    }
    for replica in fleet.replicas.iter().take(LISTED_MAX) {
        hosts.entry(host_of(replica)).or_default().push(replica);
    }
    let more = fleet.replicas.len().saturating_sub(LISTED_MAX) as u64;
    if hosts.is_empty() {
        let said = html! {
            "Redis remembers no replica of this group. Start one: " code { "startjobs worker" }
            ", with the same redis-url, jobs-stream and group."
        };
        return html! { section.panel { (empty(Icon::Unknown, "No replica is remembered", &said)) } };
    }
    html! {
        @for (name, replicas) in &hosts {
            (host(asked, name, fleet.overview.snapshot.hosts.listed.iter().find(|view| &view.host == name), replicas))
        }
        @if more > 0 {
            p.muted { "and " (text::of(more, "replica", "replicas")) " more; "
                code { "startjobs replicas" } " lists all" }
        }
    }
}

fn host(asked: &Asked, name: &str, view: Option<&HostView>, replicas: &[&Replica]) -> Markup {
    let id = anchor(name);
    let rows: Vec<Vec<Markup>> = replicas.iter().map(|replica| row(asked, replica)).collect();
    html! {
        section .panel.host id=(id) aria-labelledby={ "h-" (id) } {
            div.head {
                h2 id={ "h-" (id) } { (text::name(name)) }
                @if let Some(view) = view { (standing(view)) (about(asked, view)) }
            }
            @for replica in replicas.iter().filter(|replica| replica.is_gone()) { (note(asked, replica)) }
            @if rows.is_empty() {
                p.pad.muted { "No replica of this host is remembered." }
            } @else {
                (table("Replicas of this host", &columns(asked), &rows))
            }
        }
    }
}

fn standing(view: &HostView) -> Markup {
    match view.standing {
        _ if view.is_full() => tag(Tone::Warn, Icon::Warn, "full"),
        "alive" => tag(Tone::Ok, Icon::Ok, "alive"),
        "dead" => tag(Tone::Crit, Icon::Lost, "dead"),
        other => tag(Tone::None, Icon::Unknown, other),
    }
}

fn about(asked: &Asked, view: &HostView) -> Markup {
    html! {
        div.row-facts {
            @if let Some(engine) = &view.engine { span { "Engine: " b { (text::name(engine)) } } }
            @if let Some(games) = view.games_text() { span { "Games: " b { (games) } } }
            @if let Some(at_ms) = view.last_heard_ms { span { "Heard of " (asked.at(at_ms)) } }
            @if let Some(name) = &view.advertise_host { span { "Games answer at " b { (text::name(name)) } } }
        }
    }
}

fn note(asked: &Asked, replica: &Replica) -> Markup {
    html! {
        div.note {
            (inked(Icon::Lost, Tone::Crit))
            div {
                b { (text::replica(&replica.name)) " was lost" }
                @if let Some(at_ms) = replica.gone_since_ms() { " " (asked.at(at_ms)) }
                @if replica.pending > 0 {
                    ", and still holds " (text::of(replica.pending, "job", "jobs")) ": others take them over"
                } @else {
                    "; it holds nothing any more"
                }
                ". Look on its host how process "
                @match replica.pid { Some(pid) => (pid), None => "(not known)" }
                " ended. " a href="/runbooks#replicalost" { "Runbook ReplicaLost" }
            }
        }
    }
}

fn columns(asked: &Asked) -> Vec<Column> {
    COLUMNS.into_iter().chain(asked.actor().map(|_| ACTION)).collect()
}

fn row(asked: &Asked, replica: &Replica) -> Vec<Markup> {
    let (tone, icon, word) = state(replica.state);
    let mut cells = vec![
        html! { (text::replica(&replica.name)) @if let Some(pid) = replica.pid { span.sub { " pid " (pid) } } },
        tag(tone, icon, word),
        html! { @if let Some(up) = replica.up_ms { (lasting(up)) } },
        html! {
            @if let Some((used, slots)) = replica.in_flight.zip(replica.slots) {
                (used) " of " (slots) (meter(used, slots))
            } @else {
                span.muted { "not known" }
            }
        },
        html! { (text::count(replica.pending)) },
        html! { @if let Some(at_ms) = replica.last_seen_ms { (asked.at(at_ms)) } },
        html! { @if let Some(version) = &replica.version { (text::name(version)) } },
    ];
    cells.extend(asked.actor().map(|_| drain::button(replica)));
    cells
}

/// A state in colour, shape and word.
fn state(state: State) -> (Tone, Icon, &'static str) {
    match state {
        State::Running => (Tone::Ok, Icon::Ok, "running"),
        State::Draining => (Tone::Info, Icon::Drain, "draining"),
        State::Dead => (Tone::Crit, Icon::Lost, "dead"),
        State::Lost => (Tone::Crit, Icon::Lost, "lost"),
        State::Unknown => (Tone::None, Icon::Unknown, "not known"),
        State::Left => (Tone::None, Icon::Drain, "stopped"),
    }
}
