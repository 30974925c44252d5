//! Facts in, states out. Pure: the clock is the look's.

use std::collections::BTreeMap;

use super::rules::{self, Rule};
use super::{Alert, Dead, State, alert, millis};
use crate::contract::dead_letter::Reason;
use crate::ops::hosts::HostView;
use crate::ops::printable::{cut_name, span, time};
use crate::ops::replicas::{Notice, Replica, State as Life};
use crate::ops::snapshot::Snapshot;

/// What is seen of a fleet.
struct Seen<'a> {
    now_ms: u64,
    snapshot: &'a Snapshot,
    replicas: &'a [Replica],
    dead: &'a [Dead],
}

/// Every alert, in the order of the file.
pub(in crate::ops) fn judge(snapshot: &Snapshot, replicas: &[Replica], dead: &[Dead]) -> Vec<Alert> {
    let seen = Seen { now_ms: snapshot.at_ms, snapshot, replicas, dead };
    let others = [
        seen.replica_lost(),
        seen.backlog_growing(),
        seen.oldest_waiting(),
        seen.dead_letters(),
        unknown(&rules::CLAIM_STORM, "needs the claims and reads of 10 minutes; `pending` shows deliveries above 1"),
        seen.lag_unknown(),
        seen.redis_down(),
        seen.redis_refuses(),
        unknown(
            &rules::ENGINE_DOWN,
            "each replica knows its own engine: its /readyz, or `startjobs doctor` on its machine",
        ),
        seen.worker_stuck(),
        seen.restart_loop(),
        seen.mirror_held(),
        seen.foreign_offset(),
        unknown(
            &rules::ORPHANS,
            "needs the restored entries of 15 minutes; `audit` finds entries that were not restored",
        ),
        seen.entries_lost(),
        seen.stream_exhausted(),
        unknown(&rules::LOG_LINES_DROPPED, "each replica counts its own: startjobs_log_lines_dropped_total"),
        seen.disconnect_notice_off(),
        unknown(&rules::DECLARED_DEAD_ALIVE, "each replica counts its own: startjobs_declared_dead_total"),
        seen.host_dead(),
        unknown(
            &rules::POLICY_BROKEN,
            "each replica reads its own file: its log, or `startjobs doctor` on its machine",
        ),
        seen.host_full(),
    ];
    // Where Redis refuses writes, replicas that live cannot say so.
    let is_exported = snapshot.replicas.alive + snapshot.mute() > 0;
    let others = others.into_iter().map(|alert| if is_exported { alert } else { unexported(alert) });
    [seen.no_replicas()].into_iter().chain(others).collect()
}

/// Metrics come from replicas: where none is left, nothing but their absence can be an alert.
fn unexported(alert: Alert) -> Alert {
    let detail = "no replica exports it: see NoReplicas".to_owned();
    Alert { state: State::Quiet, true_for_ms: None, detail, ..alert }
}

fn quiet(rule: &Rule, value: Option<f64>, detail: impl Into<String>) -> Alert {
    Alert { value, detail: detail.into(), ..alert(rule) }
}

fn unknown(rule: &Rule, why: impl Into<String>) -> Alert {
    Alert { state: State::Unknown, detail: why.into(), ..alert(rule) }
}

/// Its condition is true; for how long, as far as that is known.
fn raised(rule: &Rule, value: f64, true_for_ms: Option<u64>, detail: impl Into<String>) -> Alert {
    let is_held = true_for_ms.is_some_and(|held| held >= millis(rule.held_for));
    let state = if is_held { State::Firing } else { State::Pending };
    Alert { state, value: Some(value), true_for_ms, detail: detail.into(), ..alert(rule) }
}

#[expect(clippy::cast_precision_loss, reason = "counts and milliseconds are far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

fn seconds(ms: u64) -> f64 {
    number(ms) / 1_000.0
}

impl Seen<'_> {
    fn since(&self, at_ms: u64) -> u64 {
        self.now_ms.saturating_sub(at_ms)
    }

    /// Dead or lost. Where Redis refuses writes, silence alone says nothing.
    fn gone(&self) -> Vec<&Replica> {
        let is_refusing = self.snapshot.redis.refuses_writes.is_some();
        self.replicas.iter().filter(|one| one.is_gone() && !(is_refusing && one.is_unnoticed())).collect()
    }

    fn no_replicas(&self) -> Alert {
        let (rule, alive) = (&rules::NO_REPLICAS, self.snapshot.replicas.alive);
        if number(alive) >= rule.limit().value {
            return quiet(rule, Some(number(alive)), format!("{alive} alive"));
        }
        let mute = self.snapshot.mute();
        if mute > 0 {
            return unknown(rule, format!("Redis refuses writes: {mute} replicas cannot say whether they live"));
        }
        // The last one to go.
        let ended = |replica: &Replica| match replica.state {
            Life::Dead | Life::Lost => replica.gone_since_ms(),
            Life::Left => replica.last_seen_ms,
            _ => None,
        };
        let Some(last) = self.replicas.iter().filter_map(ended).max() else {
            return raised(rule, 0.0, None, "none alive, and none is remembered");
        };
        let ago = self.since(last);
        raised(rule, 0.0, Some(ago), format!("none alive, the last one gone for {}", span(ago)))
    }

    fn replica_lost(&self) -> Alert {
        let (rule, gone) = (&rules::REPLICA_LOST, self.gone());
        let Some(first) = gone.iter().filter_map(|replica| replica.gone_since_ms()).min() else {
            return quiet(rule, Some(0.0), "none dead or lost");
        };
        let names: Vec<String> = gone.iter().take(3).map(|replica| replica.named()).collect();
        let more =
            if gone.len() > names.len() { format!(" and {} more", gone.len() - names.len()) } else { String::new() };
        let held: u64 = gone.iter().map(|replica| replica.pending).sum();
        let holds = match held {
            0 => "; others have taken over its entries".to_owned(),
            held => format!("; it still holds {held} entries, until others take them over"),
        };
        let until = self.snapshot.replicas.gone_until_ms.map_or_else(String::new, |until| {
            format!("; told until {}, or until `startjobs replicas forget --gone`", time(until))
        });
        let count = u64::try_from(gone.len()).unwrap_or(u64::MAX);
        raised(rule, number(count), Some(self.since(first)), format!("{}{more}{holds}{until}", names.join(", ")))
    }

    fn backlog_growing(&self) -> Alert {
        let (rule, waiting) = (&rules::BACKLOG_GROWING, self.snapshot.waiting.waiting);
        let value = Some(number(waiting.count));
        if self.snapshot.paused.is_some() {
            return quiet(rule, value, "the fleet is paused");
        }
        if number(waiting.count) <= rule.limit().value {
            return quiet(rule, value, format!("{} waiting", waiting.text()));
        }
        let why = format!("{} waiting, above the limit; whether it grows needs 10 minutes of data", waiting.text());
        Alert { value, ..unknown(rule, why) }
    }

    fn oldest_waiting(&self) -> Alert {
        let (rule, age) = (&rules::OLDEST_WAITING, self.snapshot.waiting.oldest_age_ms.unwrap_or_default());
        let limit_ms = seconds_to_ms(rule.limit().value);
        if self.snapshot.paused.is_some() {
            return quiet(rule, Some(seconds(age)), "the fleet is paused");
        }
        if age <= limit_ms {
            return quiet(rule, Some(seconds(age)), "no entry has waited long");
        }
        // Whatever was read before it had waited longer still: so long at least.
        let id = self.snapshot.waiting.oldest_id.as_deref().unwrap_or_default();
        let hosts = &self.snapshot.hosts;
        let full =
            if hosts.all_are_full() { format!("; every host is full: {}", hosts.full_named()) } else { String::new() };
        raised(rule, seconds(age), Some(age - limit_ms), format!("entry {id} has waited for {}{full}", span(age)))
    }

    fn dead_of(&self, rule: &Rule, is_one: impl Fn(&Dead) -> bool) -> Alert {
        let of: Vec<&Dead> = self.dead.iter().filter(|dead| is_one(dead)).collect();
        let Some(first) = of.iter().map(|dead| dead.first_ms).min() else {
            return quiet(rule, Some(0.0), "none in 15 minutes");
        };
        let told = |shown: fn(&str) -> String| {
            let each: Vec<String> = of.iter().map(|dead| format!("{} {}", dead.count, shown(&dead.reason))).collect();
            format!("in 15 minutes: {}", each.join(", "))
        };
        let count = of.iter().map(|dead| dead.count).sum();
        let alert = raised(rule, number(count), Some(self.since(first)), told(str::to_owned));
        Alert { brief: Some(told(cut_name)), ..alert }
    }

    fn dead_letters(&self) -> Alert {
        self.dead_of(&rules::DEAD_LETTERS, |_| true)
    }

    fn entries_lost(&self) -> Alert {
        self.dead_of(&rules::ENTRIES_LOST, |dead| dead.reason == Reason::EntryLost.as_str())
    }

    fn stream_exhausted(&self) -> Alert {
        let (rule, exhausted) = (&rules::STREAM_EXHAUSTED, &self.snapshot.exhausted);
        let count = u64::try_from(exhausted.len()).unwrap_or(u64::MAX);
        if exhausted.is_empty() {
            return quiet(rule, Some(0.0), "every stream takes further entries");
        }
        raised(rule, number(count), None, format!("Redis refuses every further entry of {}", exhausted.join(", ")))
    }

    fn lag_unknown(&self) -> Alert {
        let rule = &rules::LAG_UNKNOWN;
        if self.snapshot.lag.known {
            return quiet(rule, Some(1.0), "XINFO GROUPS knows it");
        }
        let why = if self.snapshot.has_group { "XINFO GROUPS answers none" } else { "there is no consumer group" };
        raised(rule, 0.0, None, why)
    }

    fn redis_down(&self) -> Alert {
        let (rule, gone) = (&rules::REDIS_DOWN, self.gone());
        if gone.is_empty() {
            return quiet(rule, Some(0.0), "Redis answers here, and every replica has renewed");
        }
        let why = "Redis answers here; a dead or lost replica whose process still runs may be cut off from it: see its /readyz";
        unknown(rule, why)
    }

    fn redis_refuses(&self) -> Alert {
        let rule = &rules::REDIS_REFUSES;
        let Some(refusal) = &self.snapshot.redis.refuses_writes else {
            return quiet(rule, Some(0.0), "Redis takes writes");
        };
        let held_ms = self.snapshot.replicas.renewed_ms.map(|at| self.since(at));
        raised(rule, 1.0, held_ms, refusal.sentence())
    }

    fn worker_stuck(&self) -> Alert {
        let rule = &rules::WORKER_STUCK;
        if self.snapshot.waiting.waiting.count == 0 {
            return quiet(rule, None, "nothing waits");
        }
        if self.snapshot.paused.is_some() {
            return quiet(rule, None, "the fleet is paused");
        }
        let is_full = |replica: &Replica| replica.in_flight.zip(replica.slots).is_some_and(|(used, all)| used >= all);
        if self.replicas.iter().filter(|replica| replica.state == Life::Running).all(is_full) {
            return quiet(rule, None, "every slot is in use");
        }
        unknown(rule, "entries wait and slots are free; only the replica itself knows when it last read")
    }

    /// A process that never reached Redis is not seen here.
    fn restart_loop(&self) -> Alert {
        let rule = &rules::RESTART_LOOP;
        let from = self.now_ms.saturating_sub(millis(rule.window()));
        // A process that was declared dead and goes on under another name has several records and one start.
        let mut processes: BTreeMap<(&str, Option<u64>, u64), bool> = BTreeMap::new();
        for replica in self.replicas {
            let (Some(seen), Some(up)) = (replica.last_seen_ms, replica.up_ms) else { continue };
            let until = if replica.is_alive() { self.now_ms } else { seen };
            let process = (replica.host.as_deref().unwrap_or("-"), replica.pid, until.saturating_sub(up));
            let has_ended = !replica.is_alive() && seen >= from;
            processes.entry(process).and_modify(|ended| *ended &= has_ended).or_insert(has_ended);
        }
        let mut hosts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for ((host, _, started_ms), has_ended) in processes {
            let (began, ended) = hosts.entry(host).or_default();
            *began += u64::from(started_ms >= from);
            *ended += u64::from(has_ended);
        }
        // A restart is an end and a begin.
        let worst = hosts.into_iter().map(|(host, (began, ended))| (began.min(ended), host)).max().unwrap_or_default();
        let (restarts, host) = worst;
        if number(restarts) <= rule.limit().value {
            return quiet(
                rule,
                Some(number(restarts)),
                format!("{restarts} restarts on one host in 15 minutes at most"),
            );
        }
        let why = format!(
            "{restarts} restarts on host {host} in 15 minutes; only the process start times show whether it was one replica"
        );
        Alert { value: Some(number(restarts)), ..unknown(rule, why) }
    }

    fn mirror_held(&self) -> Alert {
        let (rule, oldest) = (&rules::MIRROR_HELD, self.snapshot.in_flight.oldest_age_ms.unwrap_or_default());
        // It was not pending before it was appended.
        if seconds(oldest) <= rule.limit().value {
            return quiet(rule, Some(seconds(oldest)), "no entry in flight is that old");
        }
        let id = self.snapshot.in_flight.oldest_id.as_deref().unwrap_or_default();
        let why = format!(
            "entry {id} is in flight and was appended {} ago; Redis does not keep since when it is pending",
            span(oldest)
        );
        unknown(rule, why)
    }

    /// Those of older versions export nothing, and say nothing here either.
    fn disconnect_notice_off(&self) -> Alert {
        let rule = &rules::DISCONNECT_NOTICE_OFF;
        let running: Vec<&Replica> = self.replicas.iter().filter(|one| one.state == Life::Running).collect();
        let of = |notice: Notice| running.iter().filter(move |one| one.disconnect_notice == Some(notice));
        let (off, refused) = (of(Notice::Off).count(), of(Notice::Refused).count());
        if off + refused > 0 {
            // A setting holds for the whole life of a process; the server may have begun to refuse at any time.
            let held_ms = of(Notice::Off).filter_map(|one| one.up_ms).max();
            let detail = match (off, refused) {
                (off, 0) => format!("disconnect-grace is off in {off} running replicas"),
                (0, refused) => format!("the server refuses it to {refused} running replicas"),
                (off, refused) => {
                    format!("disconnect-grace is off in {off} running replicas, the server refuses {refused}")
                }
            };
            return raised(rule, 0.0, held_ms, detail);
        }
        let down = of(Notice::Down).count();
        if down > 0 {
            return unknown(rule, format!("{down} not heard at this moment; Redis does not keep for how long"));
        }
        quiet(rule, None, "every running replica that has it is heard")
    }

    fn host_dead(&self) -> Alert {
        let (rule, hosts) = (&rules::HOST_DEAD, &self.snapshot.hosts);
        let Some(&first) = hosts.dead_since_ms.first() else {
            return quiet(rule, Some(0.0), "no host is dead");
        };
        raised(rule, number(hosts.dead), Some(self.since(first)), hosts.dead_named())
    }

    /// A replica finds its host full when a job comes for which there is no room, and says so in its record.
    fn host_full(&self) -> Alert {
        let (rule, hosts) = (&rules::HOST_FULL, &self.snapshot.hosts);
        let count = |count: usize| number(u64::try_from(count).unwrap_or(u64::MAX));
        let found: Vec<&HostView> = hosts.full().filter(|host| host.is_sick).collect();
        match (hosts.full().count(), found.len()) {
            (0, _) => quiet(rule, Some(0.0), "no host has as many games as it may"),
            (_, 0) => quiet(rule, Some(0.0), format!("{}; no further job has come there", hosts.full_named())),
            (_, seen) => {
                let since_ms = found.iter().filter_map(|host| host.full_since_ms).min();
                raised(rule, count(seen), since_ms.map(|at| self.since(at)), hosts.full_named())
            }
        }
    }

    fn foreign_offset(&self) -> Alert {
        let (rule, mirror) = (&rules::FOREIGN_OFFSET, &self.snapshot.mirror);
        if mirror.foreign {
            let id = mirror.id.as_deref().unwrap_or("nothing");
            return raised(rule, 1.0, None, format!("the mirror holds {id}, which the fleet did not write"));
        }
        unknown(rule, "not now; Redis does not keep whether it was in the last 15 minutes")
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "limits are small and positive")]
fn seconds_to_ms(seconds: f64) -> u64 {
    (seconds * 1_000.0) as u64
}
