//! The system: alerts, what is around the fleet, the pause, who may act, settings.

use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};
use tokio::time::{Instant, timeout};

use super::access::panel;
use crate::ops::alerts::{Alert, State};
use crate::ops::doctor::{self, Finding, Level};
use crate::page::frame::empty::empty;
use crate::page::frame::facts::facts;
use crate::page::frame::filters::pills;
use crate::page::frame::icons::Icon;
use crate::page::frame::shell::Tab;
use crate::page::frame::table::{Column, table};
use crate::page::frame::tag::tag;
use crate::page::frame::tone::Tone;
use crate::page::site::{Asked, FOUND_FOR, Frame, Site, framed};
use crate::page::text;
use crate::page::when::lasting;

/// How long one call of doctor may take here.
const CALL_WITHIN: Duration = Duration::from_secs(2);
/// How long all of those to the engine may take.
const ENGINE_WITHIN: Duration = Duration::from_secs(5);

const ALERTS: [Column; 6] = [
    Column::new("Alert", "lead"),
    Column::new("State", "st"),
    Column::new("Severity", ""),
    Column::new("Seen, and the limit", "lab"),
    Column::new("What is seen", "tell"),
    Column::new("Runbook", ""),
];
const FINDINGS: [Column; 4] = [
    Column::new("About", "lead"),
    Column::new("Level", "st"),
    Column::new("Found", "tell"),
    Column::new("What helps", "tell"),
];
const SETTINGS: [Column; 3] =
    [Column::new("Setting", "lead mono"), Column::new("Value", "tell mono"), Column::new("From", "lab")];

/// The page.
pub(crate) async fn page(asked: &Asked) -> Markup {
    let found = found(asked).await;
    let frame = Frame {
        title: "System".to_owned(),
        tab: Tab::System,
        command: "startjobs doctor && startjobs alerts && startjobs config show --origin".to_owned(),
        live: "other",
        has_mini: true,
    };
    let here = ["Alerts", "Doctor", "Pause", "Access", "Settings"];
    let jumps: Vec<_> = here.iter().map(|&name| (name, format!("#{}", name.to_lowercase()), false, None)).collect();
    let content = html! {
        div.head { h1 { "System" } div.end { (pills("On this screen", &jumps)) } }
        (alerts(asked))
        (findings(&found, asked.seen.failing.is_some()))
        div.cols {
            (settings(&asked.site))
            div.stack { (pause(asked)) (panel(asked)) }
        }
    };
    framed(asked, frame, &content)
}

/// What doctor finds; it looks again only after a while, however many ask. While Redis does not answer it does not look at
/// all: what it found last stays, below that.
async fn found(asked: &Asked) -> Arc<Vec<Finding>> {
    let site = &asked.site;
    if let Some(failing) = &asked.seen.failing {
        let last = site.found.try_lock().ok().and_then(|kept| kept.as_ref().map(|(_, found)| Arc::clone(found)));
        let mut all = vec![doctor::no_redis(&site.settings.redis.display_url, &failing.why)];
        match last {
            Some(last) => all.extend(last.iter().filter(|finding| finding.about != "redis").cloned()),
            None => all.extend(of_settings(site)),
        }
        return Arc::new(all);
    }
    let mut kept = site.found.lock().await;
    if let Some((_, found)) = kept.as_ref().filter(|(at, _)| at.elapsed() < FOUND_FOR) {
        return Arc::clone(found);
    }
    let mut all = of_settings(site);
    match asked.ask(|view| Box::pin(async { Ok(doctor::redis(view, CALL_WITHIN).await) })).await {
        Ok(found) => all.extend(found),
        Err(error) => all.push(doctor::no_redis(&site.settings.redis.display_url, &error.text)),
    }
    let engine = doctor::engine(&site.settings, None, CALL_WITHIN);
    all.extend(timeout(ENGINE_WITHIN, engine).await.unwrap_or_default());
    let found = Arc::new(all);
    *kept = Some((Instant::now(), Arc::clone(&found)));
    found
}

/// What doctor finds without asking for anything.
fn of_settings(site: &Site) -> Vec<Finding> {
    let mut all = doctor::settings(&site.warnings);
    all.extend(doctor::secrets(&site.resolved));
    all.extend(doctor::policy(&site.settings));
    all.push(doctor::encryption(&site.settings.redis));
    all
}

fn alerts(asked: &Asked) -> Markup {
    let Some(fleet) = &asked.seen.fleet else {
        let said = html! { "Redis does not answer, and alerts are made of what it holds." };
        return html! {
            section #alerts .panel { (empty(Icon::Unknown, "Alerts are not known", &said)) }
        };
    };
    let all = &fleet.alerts.alerts;
    let count = |state| all.iter().filter(|alert| alert.state == state).count();
    let (quiet, others): (Vec<&Alert>, Vec<&Alert>) = all.iter().partition(|alert| alert.state == State::Quiet);
    html! {
        section #alerts .panel aria-labelledby="h-alerts" {
            div.head {
                h2 #h-alerts {
                    "Alerts: " (count(State::Firing)) " firing, " (count(State::Pending)) " about to, "
                    (count(State::Unknown)) " not known here, " (quiet.len()) " quiet"
                }
            }
            @if !others.is_empty() { (alert_table("Alerts that fire, are about to, or are not known", &others)) }
            details.pad { summary { (quiet.len()) " quiet" } (alert_table("Quiet alerts", &quiet)) }
        }
    }
}

fn alert_table(caption: &str, alerts: &[&Alert]) -> Markup {
    let rows: Vec<Vec<Markup>> = alerts.iter().map(|alert| alert_row(alert)).collect();
    table(caption, &ALERTS, &rows)
}

fn alert_row(alert: &Alert) -> Vec<Markup> {
    let (tone, icon, word) = match alert.state {
        State::Firing if alert.severity == "critical" => (Tone::Crit, Icon::Crit, "firing"),
        State::Firing => (Tone::Warn, Icon::Warn, "firing"),
        State::Pending => (Tone::Info, Icon::Soon, "about to"),
        State::Unknown => (Tone::None, Icon::Unknown, "not known here"),
        State::Quiet => (Tone::Ok, Icon::Ok, "quiet"),
    };
    let runbook = alert.name.to_lowercase();
    vec![
        html! { (alert.name) },
        tag(tone, icon, word),
        html! { (alert.severity) },
        html! {
            @if let Some(value) = alert.value {
                (number(value)) ", fires at " (alert.sign) " " (number(alert.limit)) " for " (lasting(alert.for_ms))
            }
        },
        html! { (alert.summary) ". " (told(&alert.detail)) },
        html! { a href={ "/runbooks#" (runbook) } { "Runbook" span.vh { " " (alert.name) } } },
    ]
}

/// What a command says, as a sentence.
fn told(text: &str) -> Markup {
    if text.is_empty() {
        html! {}
    } else {
        text::with_code(&text::sentence(text))
    }
}

fn number(value: f64) -> String {
    if value.fract().abs() < 0.001 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn findings(found: &[Finding], is_last: bool) -> Markup {
    let bad = found.iter().filter(|finding| finding.level != Level::Ok).count();
    let rows = |is_good: bool| -> Vec<Vec<Markup>> {
        found.iter().filter(|finding| (finding.level == Level::Ok) == is_good).map(finding_row).collect()
    };
    html! {
        section #doctor .panel aria-labelledby="h-doctor" {
            div.head {
                h2 #h-doctor { "Doctor: " @if bad == 0 { "nothing is wrong around the fleet" }
                    @else { (bad) " to look at" } }
                span.muted.end {
                    @if is_last { "as this process found it last" }
                    @else { "as this process sees it, at most " (lasting(15_000)) " old" }
                }
            }
            @if bad > 0 { (table("What doctor found wrong", &FINDINGS, &rows(false))) }
            details.pad { summary { (found.len() - bad) " as they should be" }
                (table("What is as it should be", &FINDINGS, &rows(true))) }
        }
    }
}

fn finding_row(finding: &Finding) -> Vec<Markup> {
    let (tone, icon, word) = match finding.level {
        Level::Ok => (Tone::Ok, Icon::Ok, "ok"),
        Level::Warn => (Tone::Warn, Icon::Warn, "warning"),
        Level::Fail => (Tone::Crit, Icon::Crit, "fails"),
    };
    vec![html! { (finding.about) }, tag(tone, icon, word), told(&finding.found), told(&finding.remedy)]
}

fn settings(site: &Site) -> Markup {
    let row = |setting: &crate::settings::ResolvedSetting| {
        vec![
            html! { (setting.name) },
            text::whole(&setting.value),
            html! { bdi { (text::visible(&setting.origin.to_string(), text::WORDS_MAX)) } },
        ]
    };
    let is_default = |setting: &&crate::settings::ResolvedSetting| setting.origin == crate::settings::Origin::Default;
    let (default, set): (Vec<_>, Vec<_>) = site.resolved.iter().partition(is_default);
    let rows = |of: &[&crate::settings::ResolvedSetting]| of.iter().map(|setting| row(setting)).collect::<Vec<_>>();
    html! {
        section #settings .panel aria-labelledby="h-settings" {
            div.head { h2 #h-settings { "Settings of this process" } span.muted.end { (text::name(&site.served_by)) } }
            @if !set.is_empty() { (table("Settings that were given", &SETTINGS, &rows(&set))) }
            details.pad { summary { (default.len()) " at their defaults" }
                (table("Settings at their defaults", &SETTINGS, &rows(&default))) }
        }
    }
}

fn pause(asked: &Asked) -> Markup {
    let paused = asked.seen.fleet.as_ref().and_then(|fleet| fleet.overview.snapshot.paused.as_ref());
    html! {
        section #pause .panel aria-labelledby="h-pause" {
            div.head { h2 #h-pause { "Pause" } }
            div.pad {
                @match paused {
                    Some(pause) => {
                        (facts(&[
                            ("By", text::name(&pause.by)),
                            ("Since", if pause.at_ms > 0 { asked.at(pause.at_ms) } else { html! {} }),
                            ("Reason", text::words(&pause.reason)),
                        ]))
                        p { "No replica reads or claims until the fleet is resumed: " code.cmd { "startjobs resume" } }
                        (button(asked, "/fleet/resume", "Resume\u{2026}"))
                    }
                    None => {
                        p { "The fleet is not paused. To hold it: " code.cmd { "startjobs pause --reason INC-42" } }
                        (button(asked, "/fleet/pause", "Pause\u{2026}"))
                    }
                }
            }
        }
    }
}

/// A button that asks; only for those who may act.
fn button(asked: &Asked, action: &str, words: &str) -> Markup {
    html! {
        @if let Some(person) = asked.actor() {
            form method="post" action=(action) {
                input type="hidden" name="code" value=(person.form_code);
                div.acts { button.b type="submit" { (words) } }
            }
        }
    }
}
