//! One replica is drained: what it holds, what is left of the fleet, and what came of it.

use std::time::Duration;

use maud::{Markup, html};
use tokio::time::{Instant, sleep};

use super::overview::host_of;
use super::refused::undone;
use crate::ops::replicas::{Replica, State};
use crate::page::frame::confirm::{Question, confirm};
use crate::page::frame::icons::Icon;
use crate::page::frame::shell::Tab;
use crate::page::frame::strip::strip;
use crate::page::frame::tone::Tone;
use crate::page::looks::Fleet;
use crate::page::query::Query;
use crate::page::site::{Asked, Frame, framed};
use crate::page::text;
use crate::page::token::Person;
use crate::stream::drain::DrainPlaced;

/// Characters of a reason.
const REASON_MAX: usize = 200;
/// How long a person waits until the replica has begun to drain.
const BEGUN_WITHIN: Duration = Duration::from_secs(3);
/// How long after each look the next one follows.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(150);

/// Where the form goes.
const PATH: &str = "/replicas/drain";

/// The form that the buttons of [`button`] belong to; only for those who may act.
pub(crate) fn form(asked: &Asked) -> Markup {
    html! {
        @if let Some(person) = asked.actor() {
            form #drain method="post" action=(PATH) { input type="hidden" name="code" value=(person.form_code); }
        }
    }
}

/// The button of a replica that can be drained. One whose name cannot be shown as it is has none: the command takes it.
pub(crate) fn button(replica: &Replica) -> Markup {
    let is_plain = text::visible(&replica.name, text::WORDS_MAX) == replica.name;
    html! {
        @if replica.state == State::Running && is_plain {
            button.b type="submit" form="drain" name="replica" value=(replica.name) {
                "Drain\u{2026}" span.vh { " " (text::short_replica(&replica.name)) }
            }
        }
    }
}

/// The form of one replica: asks, or does it.
pub(crate) async fn drain(asked: &mut Asked, person: &Person, form: &Query) -> Markup {
    let name = form.get("replica").unwrap_or_default().to_owned();
    let reason = text::line(form.get("reason").unwrap_or_default(), REASON_MAX);
    if running(asked, &name).is_err() {
        // It may have come since the last look.
        asked.anew().await;
    }
    let content = match running(asked, &name) {
        Err(why) => told(Tone::Info, Icon::Unknown, &format!("Nothing was changed: {why}.")),
        Ok(replica) if form.get("confirmed") == Some("yes") => done(asked, person, &replica, &reason).await,
        Ok(replica) => question(asked, person, &replica),
    };
    let frame = Frame {
        title: "Drain".to_owned(),
        tab: Tab::Replicas,
        command: format!("startjobs drain {name}"),
        live: "other",
        has_mini: true,
    };
    framed(asked, frame, &content)
}

/// The replica, if there is something to drain.
fn running(asked: &Asked, name: &str) -> Result<Replica, String> {
    let short = text::short_replica(name);
    let fleet = asked.seen.fleet.as_ref();
    match fleet.and_then(|fleet| fleet.replicas.iter().find(|replica| replica.name == name)) {
        None => Err(format!("no replica {short} is remembered")),
        Some(replica) if replica.state == State::Running => Ok(replica.clone()),
        Some(replica) => Err(format!("replica {short} is {}", replica.state.as_str())),
    }
}

/// The process that shows this page is a part of it.
fn serves_this(asked: &Asked, replica: &Replica) -> bool {
    let named = replica.host.as_ref().zip(replica.pid).map(|(host, pid)| format!("{host}, pid {pid}"));
    named.is_some_and(|named| named == asked.site.served_by)
}

fn question(asked: &Asked, person: &Person, replica: &Replica) -> Markup {
    let mut notes = vec![
        (
            Tone::None,
            Icon::User,
            html! { "Replica " (text::replica(&replica.name)) " on " (text::name(&host_of(replica)))
            @if let Some(pid) = replica.pid { ", pid " (pid) } },
        ),
        (Tone::Info, Icon::Drain, holds(replica)),
    ];
    notes.extend(asked.seen.fleet.as_ref().map(|fleet| left(fleet, replica)));
    if serves_this(asked, replica) {
        notes.push((Tone::Warn, Icon::Warn, html! { "This page is served by it, and ends with it." }));
    }
    notes.push((
        Tone::None,
        Icon::Run,
        html! {
            "Its process ends with 0, or with 1 where starts last longer than drain-timeout: those are given back. A \
             process manager that restarts it in any case starts a new replica."
        },
    ));
    let fields = html! {
        input type="hidden" name="code" value=(person.form_code);
        input type="hidden" name="replica" value=(replica.name);
        input type="hidden" name="confirmed" value="yes";
        label for="f-reason" { "Why (its log and the events show it)" }
        input #f-reason name="reason" type="text" maxlength=(REASON_MAX);
    };
    confirm(&Question {
        title: "Drain this replica?".to_owned(),
        notes,
        action: PATH,
        fields,
        button: "Drain the replica".to_owned(),
        is_final: is_last(asked, replica),
        back: "/replicas",
    })
}

fn holds(replica: &Replica) -> Markup {
    html! {
        @if replica.pending == 0 {
            "It holds no job, and leaves at once."
        } @else {
            "It holds " (text::of(replica.pending, "job", "jobs"))
            @if let Some(starting) = replica.in_flight { ", " (text::count(starting)) " of them being started" }
            ". It finishes those that it starts within its " code { "drain-timeout" }
            ", and gives the rest back to the others."
        }
    }
}

/// The others that take work, and their slots.
fn others<'a>(fleet: &'a Fleet, replica: &'a Replica) -> impl Iterator<Item = &'a Replica> {
    fleet.replicas.iter().filter(|one| one.state == State::Running && one.name != replica.name)
}

fn is_last(asked: &Asked, replica: &Replica) -> bool {
    asked.seen.fleet.as_ref().is_none_or(|fleet| others(fleet, replica).next().is_none())
}

/// What the fleet can do without it.
fn left(fleet: &Fleet, replica: &Replica) -> (Tone, Icon, Markup) {
    let count = others(fleet, replica).count() as u64;
    if count == 0 {
        let said = "It is the last one that takes work: no replica reads then, and jobs wait until another one starts.";
        return (Tone::Crit, Icon::Crit, html! { (said) });
    }
    let slots: u64 = others(fleet, replica).filter_map(|one| one.slots).sum();
    let free: u64 =
        others(fleet, replica).map(|one| one.slots.unwrap_or(0).saturating_sub(one.in_flight.unwrap_or(0))).sum();
    let said = html! {
        (text::of(count, "replica is", "replicas are")) " left, with " (text::of(slots, "slot", "slots")) ", "
        (text::count(free)) " of them free now."
    };
    (Tone::Ok, Icon::Ok, said)
}

async fn done(asked: &mut Asked, person: &Person, replica: &Replica, reason: &str) -> Markup {
    let (by, name, why) = (format!("{}@page", person.name), replica.name.clone(), reason.to_owned());
    let draining = asked.ask(|view| Box::pin(async move { view.group().drain(&name, &by, &why).await }));
    let result = match draining.await {
        Ok(DrainPlaced::Asked) => Ok(begun(asked, replica, "").await),
        Ok(DrainPlaced::Before(drain)) => {
            let before = format!(" {} had asked for it before.", drain.by);
            Ok(begun(asked, replica, &before).await)
        }
        Ok(DrainPlaced::Gone | DrainPlaced::Unknown) => {
            Ok((Tone::Info, Icon::Unknown, "Nothing was changed: it has left meanwhile.".to_owned()))
        }
        Err(error) => Err(error),
    };
    let said = result.as_ref().map_or_else(|error| format!("not known: {}", error.text), |(.., said)| said.clone());
    tracing::info!(
        by = %person.name,
        action = "drain",
        reason,
        ids = %replica.name,
        result = %said,
        "changed on the page"
    );
    match result {
        Ok((tone, icon, said)) => told(tone, icon, &said),
        Err(error) => undone(&error),
    }
}

/// Waits a little until it drains. One that serves this page has no time to wait.
async fn begun(asked: &mut Asked, replica: &Replica, before: &str) -> (Tone, Icon, String) {
    if serves_this(asked, replica) {
        let said = format!("It drains, and this page ends with it.{before} Look at the page of another replica.");
        return (Tone::Ok, Icon::Drain, said);
    }
    let until = Instant::now() + BEGUN_WITHIN;
    loop {
        asked.anew().await;
        let found = asked.seen.fleet.as_ref().and_then(|fleet| {
            fleet.replicas.iter().find(|one| one.name == replica.name).map(|one| (one.state, one.pending))
        });
        match found {
            Some((State::Running, _)) if Instant::now() < until && asked.seen.failing.is_none() => {}
            Some((State::Running, _)) => {
                let version = replica.version.as_deref().unwrap_or("that it does not tell");
                let said = format!(
                    "Asked, and it does not drain yet.{before} It hears of it within ten seconds, unless its version, \
                     {version}, does not know this: then stop its process with SIGTERM."
                );
                return (Tone::Info, Icon::Wait, said);
            }
            Some((State::Draining, pending)) => {
                let holds = text::of(pending, "job", "jobs");
                return (Tone::Ok, Icon::Drain, format!("It drains, and holds {holds} now.{before}"));
            }
            _ => return (Tone::Ok, Icon::Ok, format!("It has left.{before}")),
        }
        sleep(LOOK_AGAIN_AFTER).await;
    }
}

fn told(tone: Tone, icon: Icon, said: &str) -> Markup {
    let said = html! { (text::words(said)) " " a href="/replicas" { "Replicas" } };
    html! { h1 { "Drain" } (strip(tone, icon, &said)) }
}
