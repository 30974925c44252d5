//! What may never be said of a fleet: that it is well while an alert fires, or where no replica reads.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ops::alerts::rules::{self, Rule};
use crate::ops::alerts::{Alerts, Raised, State, next};
use crate::ops::backlog::Waiting;
use crate::ops::hosts::{FleetHosts, HostView};
use crate::ops::overview::Overview;
use crate::ops::refusal::{Refusal, Why};
use crate::ops::server::Server;
use crate::ops::snapshot::{BackingOff, Counts, Lag, Mirror, Oldest, WaitingView};
use crate::stream::pause::Pause;

const NOW_MS: u64 = 10_000_000;

fn well() -> Snapshot {
    Snapshot {
        at_ms: NOW_MS,
        wrong_types: Vec::new(),
        is_unreadable: false,
        max_run: Duration::from_secs(600),
        stream: "runtime:start_jobs".to_owned(),
        group: "rtmanager.startjobs".to_owned(),
        waiting: WaitingView { waiting: Waiting { count: 0, exact: true }, oldest_id: None, oldest_age_ms: None },
        in_flight: Oldest { count: 0, oldest_id: None, oldest_age_ms: None },
        given_back: 0,
        waiting_for_room: 0,
        starting: 0,
        backing_off: BackingOff::default(),
        dead_letters: 0,
        outcomes: 0,
        replicas: Counts { alive: 2, running: 2, remembered: 2, slots: 128, ..Counts::default() },
        hosts: FleetHosts::default(),
        lag: Lag { value: Some(0), known: true, agrees: Some(true) },
        mirror: Mirror {
            id: Some("5-0".to_owned()),
            watermark: Some("5-0".to_owned()),
            exact: Some(true),
            foreign: false,
        },
        has_stream: true,
        has_group: true,
        other_groups: Vec::new(),
        elsewhere: Vec::new(),
        exhausted: Vec::new(),
        engines: BTreeSet::new(),
        versions: BTreeSet::new(),
        redis: Server::default(),
        paused: None,
    }
}

fn waits(count: u64, age_ms: u64) -> WaitingView {
    let oldest_id = Some(format!("{}-0", NOW_MS - age_ms));
    WaitingView { waiting: Waiting { count, exact: true }, oldest_id, oldest_age_ms: Some(age_ms) }
}

fn host(standing: &'static str, is_sick: bool) -> HostView {
    HostView {
        host: "host-a".to_owned(),
        standing,
        last_heard_ms: Some(NOW_MS),
        last_heard_ago_ms: Some(0),
        heartbeat_ms: Some(30_000),
        engine: None,
        advertise_host: None,
        replicas: 2,
        is_sick,
        slots: 128,
        in_flight: 0,
        containers_max: None,
        games: None,
        full_since_ms: None,
    }
}

fn pause() -> Pause {
    let (by, reason) = ("ann@h".to_owned(), "INC-42".to_owned());
    Pause { at_ms: NOW_MS - 180_000, by, reason, group: Some("rtmanager.startjobs".to_owned()) }
}

fn alert(rule: &Rule, state: State, true_for_ms: Option<u64>) -> Alert {
    let for_ms = u64::try_from(rule.held_for.as_millis()).expect("minutes");
    Alert {
        name: rule.name,
        state,
        severity: rule.severity,
        summary: rule.summary,
        value: None,
        sign: ">",
        limit: 0.0,
        for_ms,
        true_for_ms,
        detail: "seen".to_owned(),
        brief: None,
        metric: "startjobs_x",
        runbook: rule.runbook(),
        next: next::of(rule.name),
    }
}

/// A fleet in which this alert alone fires.
pub(crate) fn firing(rule: &Rule, is_paused: bool) -> (Overview, Alerts) {
    let snapshot = Snapshot { paused: is_paused.then(pause), ..well() };
    let alerts = Alerts::new(NOW_MS, vec![alert(rule, State::Firing, Some(600_000))]);
    let overview = Overview {
        schema_version: 1,
        at_ms: NOW_MS,
        verdict: judge(&snapshot, &alerts.alerts),
        alerts: alerts.raised().map(Raised::of).collect(),
        snapshot,
    };
    (overview, alerts)
}

fn sentence(snapshot: &Snapshot, alerts: &[Alert]) -> String {
    judge(snapshot, alerts).sentence
}

#[test]
fn players_wait_where_every_host_is_full() {
    let full = HostView { containers_max: Some(2), games: Some(2), ..host("alive", false) };
    let hosts = FleetHosts { alive: 1, listed: vec![full], ..FleetHosts::default() };
    let mut snapshot = Snapshot { hosts, ..well() };
    assert_eq!(judge(&snapshot, &[]).impact.players, Players::Served);
    // Jobs that wait for room are pending: no count of waiting ones shows them.
    snapshot.in_flight.count = 2;
    let told = judge(&snapshot, &[]);
    assert_eq!((told.health, told.impact.players), (Health::Degraded, Players::Delayed), "{told:?}");
    assert!(told.impact.sentence.contains("2 jobs have no answer yet"), "{told:?}");
}

#[test]
fn each_state_has_its_sentence() {
    let mut snapshot = well();
    assert_eq!(sentence(&snapshot, &[]), "Healthy: 2 replicas read, nothing waits.");
    assert_eq!(judge(&snapshot, &[]).impact.players, Players::Served);
    let soon = alert(&rules::DEAD_LETTERS, State::Pending, Some(12_000));
    assert_eq!(sentence(&snapshot, &[soon]), "Healthy so far: DeadLettersGrowing fires in 48s.");
    snapshot.waiting = waits(12, 5_000);
    snapshot.replicas.running = 0;
    assert_eq!(sentence(&snapshot, &[]), "Down: no replica reads. 12 jobs wait, the oldest for 5.0s.");
    assert_eq!(judge(&snapshot, &[]).impact.players, Players::NotServed);
    snapshot.paused = Some(pause());
    let told = sentence(&snapshot, &[]);
    assert!(
        told.starts_with("Down: no replica reads. ") && told.ends_with(" also paused by ann@h (INC-42)."),
        "{told}"
    );
    snapshot.replicas.running = 2;
    let told = judge(&snapshot, &[]);
    let expected = "Paused by ann@h 3m ago (1970-01-01T02:43:40.000Z): INC-42. 12 jobs wait, the oldest for 5.0s.";
    assert_eq!((told.health, told.sentence.as_str()), (Health::Paused, expected));
    assert_eq!(told.problems.last().expect("the pause").next.command, Some("startjobs resume"));
    snapshot.hosts = FleetHosts { alive: 1, listed: vec![host("alive", true)], ..FleetHosts::default() };
    let told = judge(&snapshot, &[]);
    assert_eq!(told.health, Health::Paused, "{told:?}");
    assert!(told.sentence.contains(" Besides: the host host-a is sick: "), "{told:?}");
}

#[test]
fn no_fleet_is_told_with_what_there_is() {
    let mut snapshot = Snapshot { has_group: false, has_stream: false, ..well() };
    snapshot.replicas = Counts::default();
    let told = sentence(&snapshot, &[]);
    assert!(told.starts_with("There is no fleet here: the stream runtime:start_jobs does not exist. Check"), "{told}");
    snapshot.elsewhere =
        vec![crate::ops::elsewhere::Elsewhere { stream: "other".to_owned(), groups: vec!["g".to_owned()] }];
    let told = sentence(&snapshot, &[]);
    assert!(told.ends_with(". This database has other with the group g. Check the setting jobs-stream."), "{told}");
    snapshot.has_stream = true;
    snapshot.other_groups = vec!["real".to_owned()];
    // Its replicas are remembered under the same stream.
    snapshot.replicas = well().replicas;
    let told = judge(&snapshot, &[]);
    assert_eq!(told.health, Health::NoFleet);
    assert!(told.sentence.contains(" has no group rtmanager.startjobs, only real."), "{told:?}");
    assert_eq!(told.problems[0].next.command, Some("startjobs config show"));
    snapshot.other_groups.clear();
    assert_eq!(judge(&snapshot, &[]).health, Health::Degraded, "the group was lost under running replicas");
}

#[test]
fn what_cannot_be_read_is_not_known() {
    let wrong = "the key a holds a list where a hash is expected".to_owned();
    let snapshot = Snapshot { is_unreadable: true, wrong_types: vec![wrong], ..well() };
    let told = judge(&snapshot, &[]);
    assert_eq!((told.health, told.impact.players), (Health::Unknown, Players::NotKnown));
    assert_eq!(told.sentence, "Not known: the key a holds a list where a hash is expected.");
}

#[test]
fn replicas_without_an_engine_are_down() {
    let mut snapshot = well();
    snapshot.replicas.idle = 1;
    assert_eq!(judge(&snapshot, &[]).health, Health::Healthy, "the other one takes jobs");
    snapshot.replicas.idle = 2;
    assert_eq!(judge(&snapshot, &[]).health, Health::Down);
    snapshot.replicas.idle = 0;
    let listed = vec![host("dead", false)];
    snapshot.hosts = FleetHosts { dead: 1, listed, dead_since_ms: vec![NOW_MS - 5_000], ..FleetHosts::default() };
    let told = sentence(&snapshot, &[]);
    assert!(told.starts_with("Down: no engine answers: every host is dead (host-a "), "{told}");
    snapshot.hosts.listed[0].replicas = 1;
    assert_eq!(judge(&snapshot, &[]).health, Health::Degraded);
}

fn refusal() -> Refusal {
    Refusal { why: Why::MemoryFull, found: "its memory is full".to_owned() }
}

#[test]
fn refused_writes_are_said_first_and_silence_is_no_death_then() {
    let mut snapshot = well();
    snapshot.redis.refuses_writes = Some(refusal());
    let told = judge(&snapshot, &[]);
    assert_eq!(told.sentence, "Down: Redis refuses writes: its memory is full (OOM). Nothing waits.");
    let first = &told.problems[0];
    assert_eq!((first.alert, first.severity), (Some("RedisRefusesWrites"), Severity::Critical));
    // Both are silent; a third had died before.
    snapshot.replicas = Counts {
        dead: 1,
        lost: 2,
        unnoticed: 2,
        remembered: 3,
        gone_since_ms: Some(NOW_MS - 600_000),
        renewed_ms: Some(NOW_MS - 40_000),
        ..Counts::default()
    };
    let told = judge(&snapshot, &[]);
    let expected = "Down: Redis refuses writes: its memory is full (OOM), so 2 replicas cannot renew; 1 replica dead since 10m. \
        Nothing waits.";
    assert_eq!(told.sentence, expected);
    let since: Vec<Option<u64>> = told.problems.iter().map(|problem| problem.since_ms).collect();
    assert_eq!(since, [Some(NOW_MS - 40_000), Some(NOW_MS - 600_000)], "each has its own begin");
    assert!(told.impact.sentence.contains("Redis takes no new jobs from Lobby either."), "{told:?}");
    // Where no replica was there before, none is there now.
    snapshot.replicas = Counts { dead: 1, remembered: 1, ..Counts::default() };
    assert!(judge(&snapshot, &[]).sentence.contains("; no replica reads"));
}

#[test]
fn deaths_at_different_times_are_told_with_both() {
    let mut snapshot = well();
    let (first, last) = (Some(NOW_MS - 600_000), Some(NOW_MS - 3_000));
    snapshot.replicas = Counts { dead: 2, gone_since_ms: first, gone_last_ms: last, ..snapshot.replicas };
    let told = judge(&snapshot, &[]);
    assert_eq!(told.sentence, "Degraded: 2 replicas dead, the first since 10m, the last since 3.0s.");
}

#[test]
fn until_when_players_wait_is_told_where_it_is_known() {
    let mut snapshot = well();
    snapshot.backing_off = BackingOff { count: 1, next_at_ms: Some(NOW_MS + 4_000) };
    snapshot.in_flight = Oldest { count: 3, oldest_id: None, oldest_age_ms: Some(10_000) };
    let told = judge(&snapshot, &[]).impact;
    assert_eq!((told.players, told.until_ms), (Players::Served, None), "it is not late yet");
    snapshot.in_flight.oldest_age_ms = Some(90_000);
    let told = judge(&snapshot, &[]).impact;
    assert_eq!((told.players, told.until_ms), (Players::Delayed, Some(NOW_MS + 4_000)));
    assert_eq!(told.sentence, "A game starts late: 1 job waits for the next try, the first in 4.0s.");
    (snapshot.starting, snapshot.given_back) = (1, 1);
    let held = snapshot.held();
    assert_eq!((held.in_flight, held.backing_off, held.given_back, held.for_room), (1, 1, 1, 0));
    let full = HostView { containers_max: Some(2), games: Some(2), in_flight: 1, ..host("alive", false) };
    snapshot.hosts = FleetHosts { alive: 1, listed: vec![full], ..FleetHosts::default() };
    let held = snapshot.held();
    assert_eq!((held.in_flight, held.backing_off, held.given_back, held.for_room), (1, 0, 0, 2));
}

#[test]
fn every_alert_that_fires_is_a_problem_with_its_next_step() {
    for rule in rules::ALL {
        for paused in [None, Some(pause())] {
            let snapshot = Snapshot { paused: paused.clone(), ..well() };
            let told = judge(&snapshot, &[alert(&rule, State::Firing, Some(600_000))]);
            let expected =
                if paused.is_some() && rule.severity != "critical" { Health::Paused } else { Health::Degraded };
            assert_eq!(told.health, expected, "{}: {told:?}", rule.name);
            let problem = &told.problems[0];
            assert_eq!((problem.alert, problem.since_ms), (Some(rule.name), Some(NOW_MS - 600_000)));
            assert!(problem.next.command.is_some() && problem.next.route.is_some(), "{problem:?}");
            assert_eq!(problem.runbook.as_deref(), Some(rule.runbook().as_str()));
            assert!(told.sentence.contains(&problem.sentence), "{told:?}");
        }
    }
}

fn states() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Firing), Just(State::Pending), Just(State::Unknown), Just(State::Quiet)]
}

fn alerts() -> impl Strategy<Value = Vec<Alert>> {
    let one = (0..rules::ALL.len(), states(), proptest::option::of(0..1_000_000_u64));
    let alerts = proptest::collection::vec(one, 0..4);
    alerts.prop_map(|all| all.into_iter().map(|(at, state, held)| alert(&rules::ALL[at], state, held)).collect())
}

fn counts() -> impl Strategy<Value = Counts> {
    let few = || prop_oneof![3 => Just(0), 2 => 1..4_u64];
    (few(), few(), few(), few(), few(), few(), few()).prop_map(
        |(running, draining, dead, lost, stranded, idle, sick)| Counts {
            alive: running + draining,
            running,
            draining,
            dead,
            lost,
            stranded,
            slots: running * 64,
            idle: idle.min(running),
            sick: sick.min(running),
            remembered: running + draining + dead + lost,
            gone_since_ms: (dead + lost > 0).then_some(NOW_MS - 5),
            ..Counts::default()
        },
    )
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    let flags = (any::<[bool; 9]>(), counts(), 0..200_000_u64, 0..3_usize, 0..5_u64);
    flags.prop_map(|(flags, replicas, age_ms, hosts, in_flight)| {
        let [is_wrong, is_unreadable, has_group, has_others, is_paused, waiting, is_foreign, is_exhausted, refuses] =
            flags;
        let mut replicas = replicas;
        replicas.unnoticed = replicas.lost;
        let mut snapshot = Snapshot { replicas, has_group: has_group || !has_others, ..well() };
        snapshot.is_unreadable = is_wrong && is_unreadable;
        snapshot.wrong_types = is_wrong.then(|| "a key is wrong".to_owned()).into_iter().collect();
        snapshot.other_groups = has_others.then(|| "other".to_owned()).into_iter().collect();
        snapshot.paused = is_paused.then(pause);
        snapshot.waiting = if waiting { waits(3, age_ms) } else { snapshot.waiting };
        snapshot.mirror.foreign = is_foreign;
        snapshot.exhausted = is_exhausted.then(|| "a".to_owned()).into_iter().collect();
        snapshot.in_flight.count = in_flight;
        snapshot.redis.refuses_writes = refuses.then(refusal);
        snapshot.hosts.listed = [host("dead", false), host("alive", true), host("alive", false)][hosts..].to_vec();
        snapshot.hosts.dead = u64::from(hosts == 0);
        snapshot.hosts.alive = 2;
        snapshot
    })
}

proptest! {
    #[test]
    fn nothing_better_than_the_truth_is_said(snapshot in snapshots(), alerts in alerts()) {
        let told = judge(&snapshot, &alerts);
        let firing = |severity: &str| alerts.iter().any(|alert| {
            alert.state == State::Firing && (severity.is_empty() || alert.severity == severity)
        });
        if firing("critical") {
            prop_assert!(told.health < Health::Paused || told.health == Health::Degraded, "{told:?}");
            prop_assert_ne!(told.impact.players, Players::Served);
        }
        if told.health == Health::Healthy {
            prop_assert!(!firing(""));
            prop_assert!(snapshot.replicas.running > 0 && snapshot.has_group && snapshot.paused.is_none());
            prop_assert!(snapshot.redis.refuses_writes.is_none());
            prop_assert_eq!(snapshot.replicas.dead + snapshot.replicas.lost, 0);
            prop_assert!(told.problems.is_empty());
        } else {
            prop_assert!(!told.problems.is_empty());
        }
        prop_assert!(snapshot.replicas.running > 0 || told.health <= Health::Down, "{told:?}");
        for problem in &told.problems {
            prop_assert!(problem.next.command.is_some(), "{problem:?}");
        }
    }
}
