//! The protocol as it is keeps every property, whatever happens of these.

use super::explore::{explore, keeps_all};
use super::protocol::Protocol;
use super::state::Fault::{
    self, Cancel, Crash, Cut, Delete, DeleteConsumer, Destroy, Drain, EngineFails, Failover, GameEnds, GameFails,
    HandBack, Legacy, ReplyLost, SetBack, Slow, Stop,
};

/// One job, and two replicas on one host.
fn one(faults: &[(Fault, u8)]) -> Protocol {
    Protocol::of(&[0], faults)
}

/// Two jobs of one game.
fn two(faults: &[(Fault, u8)]) -> Protocol {
    Protocol::of(&[0, 0], faults)
}

/// Two jobs of different games.
fn apart(faults: &[(Fault, u8)]) -> Protocol {
    Protocol::of(&[0, 1], faults)
}

/// One job, and a replica on each of two hosts.
fn hosts(faults: &[(Fault, u8)]) -> Protocol {
    one(faults).on_hosts(&[0, 1])
}

#[test]
fn a_fleet_to_which_nothing_happens() {
    keeps_all("two jobs of a game", two(&[]));
    keeps_all("three jobs of a game", Protocol::of(&[0, 0, 0], &[]));
    keeps_all("two games", apart(&[]));
}

#[test]
fn replicas_that_die() {
    keeps_all("two jobs of a game, one death", two(&[(Crash, 1)]));
    keeps_all("one job, two deaths", one(&[(Crash, 2)]));
}

#[test]
fn replicas_that_stop_and_go_on() {
    keeps_all("two jobs of a game, one stop", two(&[(Stop, 1)]));
    keeps_all("a stop and a death", one(&[(Stop, 1), (Crash, 1)]));
    keeps_all("a stop and a game that fails", one(&[(Stop, 1), (GameFails, 1)]));
    keeps_all("a stop and an engine that fails", one(&[(Stop, 1), (EngineFails, 1)]));
}

#[test]
fn living_replicas_that_are_declared_dead() {
    keeps_all("two jobs of a game, one cut", two(&[(Cut, 1)]));
    keeps_all("a cut and a death", one(&[(Cut, 1), (Crash, 1)]));
}

#[test]
fn starts_that_take_too_long() {
    keeps_all("a slow start of two jobs", two(&[(Slow, 1)]));
    keeps_all("a slow start, and a game that fails", one(&[(Slow, 2), (GameFails, 1)]));
}

#[test]
fn replies_that_are_lost() {
    keeps_all("two lost replies and a death", one(&[(ReplyLost, 2), (Crash, 1)]));
    keeps_all("a lost reply and a stop", one(&[(ReplyLost, 1), (Stop, 1)]));
}

#[test]
fn replicas_that_drain_and_hand_back() {
    keeps_all("a drain and a hand-back", two(&[(Drain, 1), (HandBack, 1)]));
    keeps_all("a stop and a hand-back", one(&[(Stop, 1), (HandBack, 1)]));
}

#[test]
fn groups_that_are_lost_or_set_back() {
    keeps_all("a lost group and a death", one(&[(Destroy, 1), (Crash, 1)]));
    keeps_all("a lost group and a lost reply", one(&[(Destroy, 1), (ReplyLost, 1)]));
    keeps_all("a group that is set back, and a death", one(&[(SetBack, 1), (Crash, 1)]));
}

#[test]
fn pending_records_that_are_removed() {
    keeps_all("two jobs of a game, a deleted consumer", two(&[(DeleteConsumer, 1)]));
    keeps_all("a deleted consumer and a lost group", one(&[(DeleteConsumer, 1), (Destroy, 1)]));
    let trims = Protocol { trims: true, ..one(&[(DeleteConsumer, 1), (Crash, 1)]) };
    keeps_all("a deleted consumer and a janitor that trims", trims);
}

#[test]
fn payloads_that_are_deleted() {
    keeps_all("a deleted entry and a death", one(&[(Delete, 1), (Crash, 1)]));
    keeps_all("a deleted entry of two", two(&[(Delete, 1)]));
}

#[test]
fn failovers_to_a_lagging_replica() {
    keeps_all("a failover", one(&[(Failover, 1)]));
}

#[test]
fn jobs_that_are_cancelled() {
    keeps_all("a cancelled job of two", two(&[(Cancel, 1)]));
    keeps_all("a cancelled job and a death", one(&[(Cancel, 1), (Crash, 1)]));
    keeps_all("a cancelled job and a stop", one(&[(Cancel, 1), (Stop, 1)]));
}

/// The limit that docs/delivery-guarantees.md names: what a replica had read before the group was lost looks unread until that replica
/// renews.
#[test]
fn a_job_that_is_cancelled_while_the_group_is_lost_may_run() {
    let explored = explore(one(&[(Cancel, 1), (Destroy, 1)]), 1_000_000, None);
    let violated: Vec<&str> = explored.violated.iter().map(|(name, _)| *name).collect();
    assert_eq!(violated, ["a cancelled job leaves no container"], "{:#?}", explored.violated);
}

#[test]
fn an_original_worker_that_takes_over() {
    keeps_all("a fleet that is killed", apart(&[(Crash, 1), (Legacy, 1)]).of_one_replica());
    keeps_all("a fleet that drains", apart(&[(Drain, 2), (Legacy, 2)]).of_one_replica());
    keeps_all("two replicas that are killed", one(&[(Crash, 2), (Legacy, 1)]));
}

#[test]
fn games_that_end() {
    keeps_all("a game that ends, and a death", one(&[(GameEnds, 1), (Crash, 1)]));
    keeps_all("a game that ends, and a stop", one(&[(GameEnds, 1), (Stop, 1)]));
}

#[test]
fn hosts_that_are_cut_off_and_come_back() {
    keeps_all("two jobs of a game", two(&[]).on_hosts(&[0, 1]));
    keeps_all("a host that is cut off", hosts(&[(Stop, 1)]));
    keeps_all("a host that is cut off, and an engine that fails", hosts(&[(Stop, 1), (EngineFails, 1)]));
    keeps_all("a host that is cut off, and a cancelled job", hosts(&[(Stop, 1), (Cancel, 1)]));
}

#[test]
fn hosts_that_die_for_good() {
    keeps_all("one job", Protocol { lost_host: Some(0), ..hosts(&[(Crash, 1)]) });
    keeps_all(
        "one job, and an engine that fails",
        Protocol { lost_host: Some(0), ..hosts(&[(Crash, 1), (EngineFails, 1)]) },
    );
}

/// What is too large for every run: `deploy/search.sh model [MILLIONS]`, so many million steps of each.
#[test]
#[ignore = "takes hours: deploy/search.sh model"]
fn larger_models() {
    let millions: usize = std::env::var("STARTJOBS_MODEL").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let three = |faults| Protocol::of(&[0, 0, 1], faults);
    let models = [
        ("two jobs of a game, two deaths", two(&[(Crash, 2)])),
        ("two games, a death and a stop", apart(&[(Crash, 1), (Stop, 1)])),
        (
            "two jobs of a game, a stop, a game and an engine that fail",
            two(&[(Stop, 1), (GameFails, 1), (EngineFails, 1)]),
        ),
        ("one job, two stops and a game that fails", one(&[(Stop, 2), (GameFails, 1)])),
        ("two jobs of a game, a cut and a death", two(&[(Cut, 1), (Crash, 1)])),
        ("two jobs of a game, a death and a lost reply", two(&[(Crash, 1), (ReplyLost, 1)])),
        ("two games, a death and a lost group", apart(&[(Crash, 1), (Destroy, 1)])),
        ("two jobs of a game, a death and a deleted consumer", two(&[(Crash, 1), (DeleteConsumer, 1)])),
        (
            "two jobs of a game, a deleted consumer and a lost group",
            two(&[(DeleteConsumer, 1), (Destroy, 1), (Crash, 1)]),
        ),
        ("two jobs of a game, a death and a group set back", two(&[(SetBack, 1), (Crash, 1)])),
        ("two jobs of a game and a failover", two(&[(Failover, 1)])),
        ("one job, a failover and a death", one(&[(Failover, 1), (Crash, 1)])),
        ("one job, a failover and a stop", one(&[(Failover, 1), (Stop, 1)])),
        ("two jobs of a game, a cancelled one and a stop", two(&[(Cancel, 1), (Stop, 1)])),
        ("two games, two drains and the original worker", apart(&[(Drain, 2), (Legacy, 2)])),
        ("two hosts, two jobs of a game, a stop", two(&[(Stop, 1)]).on_hosts(&[0, 1])),
        (
            "two hosts, two jobs of a game, one dies for good",
            Protocol { lost_host: Some(0), ..two(&[(Crash, 1)]).on_hosts(&[0, 1]) },
        ),
        ("two hosts, one job, a stop and a death", hosts(&[(Stop, 1), (Crash, 1)])),
        ("two hosts, one job, two stops", hosts(&[(Stop, 2)])),
        (
            "three replicas on two hosts, one job, a death and a stop",
            one(&[(Crash, 1), (Stop, 1)]).on_hosts(&[0, 0, 1]),
        ),
        ("three replicas, three jobs of two games, a death", three(&[(Crash, 1)]).on_hosts(&[0, 0, 0])),
        ("three jobs of two games, a stop", three(&[(Stop, 1)])),
    ];
    let mut violated = Vec::new();
    for (what, model) in models {
        let explored = explore(model, millions * 1_000_000, None);
        let cut = if explored.is_cut { "; there are more" } else { "" };
        let (states, depth, took) = (explored.states, explored.depth, explored.took.as_secs());
        println!("{what}: {states} states, {depth} steps deep, {took} s{cut}");
        violated.extend(explored.violated.into_iter().map(|(name, steps)| format!("{what}: {name}: {steps}")));
    }
    assert!(violated.is_empty(), "{violated:#?}");
}
