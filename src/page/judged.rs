//! Health in the words and shapes of the page: what was seen, to one sentence, who notices, and what is wrong.

use super::frame::icons::Icon;
use super::frame::problem::{Next, Problem};
use super::frame::tone::Tone;
use super::frame::verdict::Said;
use super::looks::{Fleet, Seen};
use super::when::of_day;
use crate::ops::alerts::next;
use crate::ops::verdict::{self, Health, Severity};

/// The sentence, and everything that is wrong, worst first.
pub(crate) fn judged(seen: &Seen) -> (Said, Vec<Problem>) {
    match (&seen.failing, &seen.fleet) {
        (Some(failing), fleet) => {
            let since = of_day(seen.now_ms, failing.since_ms);
            let shown = if fleet.is_some() {
                "the numbers below are the last that were seen, with their time"
            } else {
                "this process has seen nothing of the fleet yet, so nothing is shown"
            };
            let said = Said {
                tone: Tone::Crit,
                icon: Icon::Crit,
                sentence: format!("down: Redis has not answered since {since}"),
                impact: format!("starts under way go on, no job is read or answered until Redis is back; {shown}"),
            };
            (said, vec![redis_away(&failing.why, failing.since_ms)])
        }
        (None, Some(fleet)) => (said(fleet), problems(fleet)),
        (None, None) => (unknown(), Vec::new()),
    }
}

fn redis_away(why: &str, since_ms: u64) -> Problem {
    Problem {
        tone: Tone::Crit,
        icon: Icon::Crit,
        title: format!("RedisDown: {why}"),
        detail:
            "Look at the server of Redis and at the network between. Do not restart replicas: they hold their jobs, \
                 and go on by themselves."
                .to_owned(),
        since_ms: Some(since_ms),
        next: Next::command("startjobs doctor"),
        runbook: "redisdown".to_owned(),
    }
}

fn unknown() -> Said {
    Said {
        tone: Tone::None,
        icon: Icon::Unknown,
        sentence: "not known: this replica has not looked at the fleet lately".to_owned(),
        impact: String::new(),
    }
}

fn said(fleet: &Fleet) -> Said {
    let verdict = &fleet.overview.verdict;
    let (tone, icon) = match verdict.health {
        Health::Healthy if fleet.alerts.raised().next().is_some() => (Tone::Ok, Icon::Soon),
        Health::Healthy => (Tone::Ok, Icon::Ok),
        Health::Paused => (Tone::Hold, Icon::Hold),
        Health::Degraded if is_critical(fleet) => (Tone::Crit, Icon::Crit),
        Health::Degraded | Health::NoFleet => (Tone::Warn, Icon::Warn),
        Health::Down => (Tone::Crit, Icon::Crit),
        Health::Unknown => (Tone::None, Icon::Unknown),
    };
    let (sentence, impact) = (verdict.sentence.clone(), verdict.impact.sentence.clone());
    Said { tone, icon, sentence, impact }
}

fn is_critical(fleet: &Fleet) -> bool {
    fleet.overview.verdict.problems.iter().any(|problem| problem.severity == Severity::Critical)
}

/// The state in a word, for the title of a window.
pub(crate) fn word(seen: &Seen) -> &'static str {
    let health = seen.fleet.as_ref().filter(|_| seen.failing.is_none()).map(|fleet| fleet.overview.verdict.health);
    match health {
        None if seen.failing.is_some() => "Down",
        None | Some(Health::Unknown) => "Not known",
        Some(Health::Healthy) => "Healthy",
        Some(Health::Paused) => "Paused",
        Some(Health::Degraded) => "Degraded",
        Some(Health::Down) => "Down",
        Some(Health::NoFleet) => "No fleet",
    }
}

fn problems(fleet: &Fleet) -> Vec<Problem> {
    fleet.overview.verdict.problems.iter().map(of_problem).collect()
}

fn of_problem(problem: &verdict::Problem) -> Problem {
    let (tone, icon) = match problem.severity {
        _ if problem.next == next::RESUME => (Tone::Hold, Icon::Hold),
        Severity::Critical => (Tone::Crit, Icon::Crit),
        Severity::Warning => (Tone::Warn, Icon::Warn),
        Severity::Info => (Tone::Info, Icon::Unknown),
    };
    let alert = problem.alert.map_or_else(String::new, |name| format!("{name}: "));
    Problem {
        tone,
        icon,
        title: format!("{alert}{}", problem.sentence),
        detail: String::new(),
        since_ms: problem.since_ms,
        next: step(&problem.next),
        runbook: problem.runbook.as_deref().and_then(|path| path.split_once('#')).map_or("", |(_, at)| at).to_owned(),
    }
}

/// A screen of the page, except where only a command helps.
fn step(next: &next::Next) -> Next {
    match (next.label, next.route, next.command) {
        (.., Some(command)) if *next == next::START => Next::command(command),
        (Some(label), _, _) if *next == next::RESUME => Next::screen(label, "/system#pause"),
        (Some(label), Some(route), _) => Next::screen(label, route),
        (.., Some(command)) => Next::command(command),
        (_, _, None) => Next::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ops::alerts::rules;
    use crate::ops::verdict::tests::firing;
    use crate::page::looks::Failing;

    fn seen(rule: &rules::Rule, is_paused: bool) -> Seen {
        let (overview, alerts) = firing(rule, is_paused);
        let now_ms = overview.at_ms;
        let fleet = Fleet { overview, alerts, replicas: Vec::new(), backing_off: None, events: None, hour: None };
        Seen { fleet: Some(Arc::new(fleet)), failing: None, now_ms, look: 1 }
    }

    #[test]
    fn no_critical_alert_that_fires_lets_the_page_say_healthy_or_only_paused() {
        let mut critical = 0;
        for rule in rules::ALL {
            for is_paused in [false, true] {
                let seen = seen(&rule, is_paused);
                let (said, problems) = judged(&seen);
                let name = rule.name;
                assert_ne!(word(&seen), "Healthy", "{name}");
                assert!(!said.sentence.to_lowercase().contains("healthy"), "{name}: {}", said.sentence);
                assert!(problems.iter().any(|problem| problem.title.contains(name)), "{name}: {problems:?}");
                if rule.severity == "critical" {
                    critical += 1;
                    assert!(["Degraded", "Down"].contains(&word(&seen)), "{name}: {}", word(&seen));
                    assert_eq!((said.tone, said.icon), (Tone::Crit, Icon::Crit), "{name}: {}", said.sentence);
                    assert!(!said.sentence.starts_with("paused"), "{name}: {}", said.sentence);
                }
            }
        }
        assert!(critical > 8, "the critical alerts are found: {critical}");
    }

    #[test]
    fn what_was_seen_before_redis_went_away_does_not_say_how_it_is_now() {
        let failing = Some(Failing { since_ms: 5, why: "connection refused".to_owned() });
        for fleet in [None, seen(&rules::ALL[0], false).fleet] {
            let seen = Seen { fleet, failing: failing.clone(), now_ms: 65_005, look: 2 };
            assert_eq!(word(&seen), "Down");
            assert_eq!(judged(&seen).0.sentence, "down: Redis has not answered since 00:00:00 UTC");
        }
        assert_eq!(word(&Seen { fleet: None, failing: None, now_ms: 5, look: 0 }), "Not known");
    }
}
