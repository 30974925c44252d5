//! What is left of the history: trims, deletions, a stream that lost its end, the largest id, and what the fleet's own
//! keys hold beside ids.

use std::time::Duration;

use startjobs::audit::finding::Kind;

use super::{FAILURE, after_a_fleet, assert_clean, assert_only, audited, audited_from_adoption, note_in_ledger};
use super::{acknowledge, move_mirror, publish_as, run, settle_as};
use crate::support::servers;
use crate::support::world::World;

/// Some jobs that a careless worker has read.
async fn read_by_hand(world: &mut World, count: usize) -> Vec<String> {
    let mut jobs = Vec::new();
    for number in 0..count {
        jobs.push(world.send(&format!("game-{number}"), "galaxy/engine:1").await.to_string());
    }
    world.read_as("careless", &count.to_string()).await;
    jobs
}

/// It says that it settled the entry, and publishes nothing.
async fn settle_silently(world: &World, job: &str) {
    note_in_ledger(world, job).await;
    acknowledge(world, job).await;
    move_mirror(world, job).await;
}

#[tokio::test]
async fn a_lost_outcome_is_seen_behind_a_trim_and_a_trim_alone_is_no_loss() {
    let mut world = after_a_fleet().await;
    let jobs = read_by_hand(&mut world, 4).await;
    for (number, job) in jobs.iter().enumerate() {
        if number == 1 {
            settle_silently(&world, job).await;
        } else {
            settle_as(&world, &format!("game-{number}"), job, FAILURE).await;
        }
    }
    assert_only(&audited(&world).await, Kind::NoOutcome, &jobs[1]);
    // Only the last result stays: the outcome of the job before, and of the first and third of these, went with the trim.
    let results = world.settings.stream.results.clone();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let last = world.send("last", "galaxy/engine:1").await.to_string();
    world.read_as("careless", "1").await;
    settle_as(&world, "last", &last, FAILURE).await;
    world.redis(&["XTRIM", &results, "MAXLEN", "1"]).await;
    let report = audited(&world).await;
    assert_eq!((report.total, report.has(Kind::OutcomesUnaccounted)), (1, true), "{}", report.table());
    assert!(report.table().contains("5 missing, 4 removed"), "{}", report.table());
    // With the lost one there, and trimmed, nothing is missing that did not go.
    publish_as(&world, "game-1", &jobs[1], FAILURE).await;
    world.redis(&["XTRIM", &results, "MAXLEN", "1"]).await;
    publish_as(&world, "game-1", "1-0", FAILURE).await;
    let report = audited(&world).await;
    assert!(!report.has(Kind::OutcomesUnaccounted) && !report.has(Kind::NoOutcome), "{}", report.table());
}

#[tokio::test]
async fn the_oldest_dead_letter_that_was_deleted_is_missed_and_one_that_was_requeued_or_trimmed_is_not() {
    let mut world = World::new().await;
    world.replica(&[]);
    let mut malformed = Vec::new();
    for _ in 0..3 {
        malformed.push(world.send_malformed().await.to_string());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.settled().await;
    world.at_rest().await;
    assert_clean(&audited(&world).await);
    let dead = world.settings.stream.dead.clone();
    world.redis(&["XTRIM", &dead, "MAXLEN", "2"]).await;
    assert_clean(&audited(&world).await);
    let second = world.entries(&dead).await.remove(0);
    world.redis(&["XDEL", &dead, &second.id]).await;
    let report = audited(&world).await;
    assert_eq!(report.by_kind.get("no_dead_letter"), Some(&2), "a trim by hand is not told apart: {}", report.table());
    // What an operator has put back is told from what was deleted.
    let requeued = format!("{dead}:requeued");
    for source in &malformed[..2] {
        let words = ["XADD", &requeued, "*", "dead_id", "1-0", "source_ref", source, "reason", "malformed"];
        world.redis(&words).await;
    }
    let report = audited(&world).await;
    assert_clean(&report);
    assert_eq!(report.counts.requeued, 2, "{}", report.table());
}

#[tokio::test]
async fn a_lost_dead_letter_is_seen_behind_a_trim_and_a_trim_alone_is_no_loss() {
    for is_one_lost in [false, true] {
        let mut world = super::after_a_fleet_with(&[("dead-max", "1")]).await;
        // Nodes of one entry, so that the fleet's own trim is exact.
        world.redis(&["CONFIG", "SET", "stream-node-max-entries", "1"]).await;
        if is_one_lost {
            let lost = world.send_malformed().await.to_string();
            world.read_as("careless", "1").await;
            settle_silently(&world, &lost).await;
        }
        world.replica(&[]);
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            world.send_malformed().await;
        }
        world.at_rest().await;
        assert_eq!(world.entries(&world.settings.stream.dead).await.len(), 1);
        let report = audited(&world).await;
        assert_eq!((report.is_clean(), report.has(Kind::DeadLettersUnaccounted)), (!is_one_lost, is_one_lost));
        assert!(!is_one_lost || report.table().contains("3 missing, 2 removed"), "{}", report.table());
    }
}

#[tokio::test]
async fn an_answer_for_an_entry_that_the_surviving_history_never_had_is_a_class_of_its_own() {
    let mut world = after_a_fleet().await;
    // What a failover to a replica that lagged leaves: the worker's answer, and a stream that never had the job.
    let jobs = read_by_hand(&mut world, 2).await;
    settle_as(&world, "game-0", &jobs[0], FAILURE).await;
    let (ms, _) = crate::support::world::numbers(&jobs[1]);
    acknowledge(&world, &jobs[1]).await;
    let stream = world.settings.stream.jobs.clone();
    let lost = format!("{}-7", ms + 60_000);
    publish_as(&world, "game-9", &lost, FAILURE).await;
    // Not in the ledger: nobody settled it, so it is forged.
    assert!(audited(&world).await.has(Kind::OutcomeForUnknown));
    note_in_ledger(&world, &lost).await;
    settle_as(&world, "game-1", &jobs[1], FAILURE).await;
    let report = audited(&world).await;
    assert_clean(&report);
    assert_eq!(report.counts.absent_from_history, 1, "{}", report.table());
    assert!(report.table().contains("answered, lost by Redis "), "{}", report.table());
    // The same once the stream has moved past it: nothing turns it into something else later.
    let later = format!("{}-0", ms + 120_000);
    world.redis(&["XADD", &stream, &later, "game_id", "late", "image_ref", "galaxy/engine:1"]).await;
    world.read_as("careless", "1").await;
    settle_as(&world, "late", &later, FAILURE).await;
    let report = audited(&world).await;
    assert_clean(&report);
    assert_eq!(report.counts.absent_from_history, 1, "{}", report.table());
    // And where older entries were deleted.
    world.redis(&["XDEL", &stream, &jobs[0]]).await;
    let report = audited(&world).await;
    assert_clean(&report);
    assert_eq!((report.counts.absent_from_history, report.counts.deleted), (1, 1), "{}", report.table());
}

#[tokio::test]
async fn a_stream_that_ends_at_the_largest_id_gets_its_verdict_and_its_story() {
    const LAST: &str = "18446744073709551615-18446744073709551615";
    for redis in servers::all() {
        let mut world = World::on(redis, &[]).await;
        world.replica(&[]);
        world.send("before", "galaxy/engine:1").await;
        let jobs = world.settings.stream.jobs.clone();
        world.redis(&["XADD", &jobs, LAST, "game_id", "last", "image_ref", "galaxy/engine:1"]).await;
        world.sent.insert(LAST.to_owned(), startjobs::lobby::accounting::Sent::Job);
        world.settled().await;
        world.at_rest().await;
        let report = audited(&world).await;
        assert_clean(&report);
        assert_eq!((report.counts.answered, report.last.is_at_rest()), (2, true), "{}", report.table());
        assert_clean(&audited_from_adoption(&world).await);
        let url = world.redis.url();
        let flags = ["--redis-url", url.as_str(), "--engine", "simulated"];
        assert_eq!(run(&[&flags[..], &["--since", LAST]].concat()).0, Some(0));
        let story = text_of(&world, &["inspect", LAST]);
        assert!(story.starts_with(&format!("{LAST}: answered success\n")), "{story}");
        let told: Vec<&str> = story.lines().skip(3).take(3).collect();
        assert!(told[0].starts_with("unknown ") && told[0].contains("appended  game last"), "{story}");
        assert!(told[1].contains("record ") && told[2].contains("outcome "), "{story}");
        assert!(!story.contains("years"), "{story}");
        // A careless worker at the end of all ids is caught as anywhere else.
        publish_as(&world, "last", LAST, FAILURE).await;
        let report = audited(&world).await;
        assert_only(&report, Kind::DuplicateOutcome, LAST);
    }
}

#[tokio::test]
async fn the_neutral_member_of_a_ledger_and_other_fields_of_the_attempts_are_no_entries() {
    for redis in servers::all() {
        let mut world = World::on(redis, &[("retry-attempts", "9"), ("retry-min", "60s"), ("retry-max", "60s")]).await;
        world.replica(&[]);
        world.send("game", "galaxy/engine:1").await;
        let held = world.send("retry", "sim/retry").await.to_string();
        let attempts = format!("{}:attempts", world.settings.stream.jobs);
        world
            .eventually("one is answered and a failure counted", async |world: &World| {
                world.redis(&["HEXISTS", &attempts, &held]).await.as_i64() == Some(1)
                    && world.lobby.answers().await.is_ok_and(|(outcomes, _)| outcomes == 1)
            })
            .await;
        let buckets = format!("{}:ledger:*", world.settings.stream.jobs);
        let buckets: Vec<String> = world.redis(&["KEYS", &buckets]).await.convert().expect("keys");
        assert!(!buckets.is_empty(), "something is settled");
        for bucket in &buckets {
            world.redis(&["SADD", bucket, "-"]).await;
        }
        let fields = [format!("alone:{held}"), format!("excused:{held}"), "alone:-".to_owned()];
        for field in &fields {
            world.redis(&["HSET", &attempts, field, "7 7 7"]).await;
        }
        let report = audited(&world).await;
        assert_clean(&report);
        assert_eq!((report.counts.answered, report.counts.pending_live), (1, 1), "{}", report.table());
        // The commands of operators see the same as without them.
        let id = held.as_str();
        for command in
            [&["inspect", id][..], &["pending"], &["status"], &["dead", "list"], &["check", "--max-dead", "0"]]
        {
            let text = text_of(&world, command);
            assert!(!text.contains("alone:") && !text.contains("excused:"), "{command:?}: {text}");
            if command[0] == "inspect" {
                assert!(text.contains("crashes 0, failures 1"), "{text}");
            }
        }
    }
}

/// What a command of operators prints; it succeeds.
fn text_of(world: &World, command: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .args(command)
        .args(["--redis-url", &world.redis.url()])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}
