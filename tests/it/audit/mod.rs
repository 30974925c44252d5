//! The auditor on a real redis-server: clean on a fleet that is killed under load, and every broken worker is caught.
//!
//! The broken workers are plain Redis commands, written out: what a careless implementation would send.

// what outcomes and dead letters say, and what containers say to it
mod answers;
// trims, deletions, a history that lost its end, the largest id
mod history;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use startjobs::audit::finding::Kind;
use startjobs::audit::report::AuditReport;
use startjobs::audit::{Options, Since, audit};

use crate::support::world::{PATIENCE, World};

const OPTIONS: Options = Options { since: Since::Ledger, stuck_after: Duration::from_secs(60), list_max: 20 };

async fn audited(world: &World) -> AuditReport {
    audit(&world.settings, &OPTIONS).await.expect("Redis answers")
}

async fn audited_from_adoption(world: &World) -> AuditReport {
    let options = Options { since: Since::Adoption, ..OPTIONS };
    audit(&world.settings, &options).await.expect("Redis answers")
}

#[track_caller]
fn assert_clean(report: &AuditReport) {
    assert!(report.is_clean(), "{}", report.table());
}

#[track_caller]
fn assert_only(report: &AuditReport, kind: Kind, entry: &str) {
    assert_eq!(report.total, 1, "{}", report.table());
    assert_eq!(
        (report.listed[0].kind, report.listed[0].entry.to_string().as_str()),
        (kind, entry),
        "{}",
        report.table()
    );
}

/// A fleet that has answered one job and has ended in order, so that nothing repairs what a broken worker does next.
async fn after_a_fleet() -> World {
    after_a_fleet_with(&[]).await
}

async fn after_a_fleet_with(settings: &[(&str, &str)]) -> World {
    let mut world = World::with(settings).await;
    let replica = world.replica(&[]);
    world.send("before", "galaxy/engine:1").await;
    world.settled().await;
    world.signal(replica, Signal::TERM);
    world.ended(replica, PATIENCE).await;
    world
}

/// What a worker without any care publishes: a container that nothing ever started.
async fn publish(world: &World, game: &str, source: &str) -> String {
    let said = Said { outcome: "success", container: "c", endpoint: "http://c:1", code: "" };
    publish_as(world, game, source, said).await
}

/// What an outcome says beside its game and its entry.
#[derive(Debug, Clone, Copy)]
struct Said<'a> {
    outcome: &'a str,
    container: &'a str,
    endpoint: &'a str,
    code: &'a str,
}

async fn publish_as(world: &World, game: &str, source: &str, said: Said<'_>) -> String {
    let results = &world.settings.stream.results;
    let words = [
        "XADD",
        results,
        "*",
        "game_id",
        game,
        "outcome",
        said.outcome,
        "container_id",
        said.container,
        "engine_endpoint",
        said.endpoint,
        "error_code",
        said.code,
        "error_message",
        "",
        "source_ref",
        source,
        "requested_at_ms",
        "0",
        "finished_at_ms",
        "0",
        "attempt",
        "1",
    ];
    world.redis(&words).await.as_string().expect("an id")
}

/// A failure as it should be.
const FAILURE: Said<'_> = Said { outcome: "failure", container: "", endpoint: "", code: "image_not_found" };

/// All that a worker does when it settles, one after the other.
async fn settle_as(world: &World, game: &str, job: &str, said: Said<'_>) -> String {
    let outcome = publish_as(world, game, job, said).await;
    note_in_ledger(world, job).await;
    acknowledge(world, job).await;
    move_mirror(world, job).await;
    outcome
}

async fn acknowledge(world: &World, id: &str) {
    world.redis(&["XACK", &world.settings.stream.jobs, &world.settings.stream.group, id]).await;
}

async fn note_in_ledger(world: &World, id: &str) {
    let hour = startjobs::audit::id::Id::parse(id).expect("an id").hour();
    world.redis(&["SADD", &format!("{}:ledger:{hour}", world.settings.stream.jobs), id]).await;
}

/// With its shadow, as a fleet does it.
async fn move_mirror(world: &World, id: &str) {
    let mirror = &world.settings.stream.offset_key;
    world.redis(&["MSET", mirror, id, &format!("{mirror}:shadow"), id]).await;
}

#[tokio::test]
async fn a_fleet_that_is_killed_under_load_is_clean_while_it_works_and_at_rest() {
    let mut world = World::with(&[("simulated-failures", "0.05"), ("simulated-errors", "0.05")]).await;
    let mut replicas: Vec<usize> = (0..3).map(|_| world.replica(&[])).collect();
    for round in 0..4 {
        for number in 0..60 {
            world.send(&format!("game-{round}-{number}"), "galaxy/engine:1").await;
            if number % 20 == 0 {
                world.send(&format!("game-{round}-{number}"), "galaxy/engine:2").await;
                world.send_malformed().await;
            }
        }
        let victim = replicas.remove(0);
        world.signal(victim, Signal::KILL);
        replicas.push(world.replica(&[]));
        assert_clean(&audited(&world).await);
    }
    world.settled().await;
    world.at_rest().await;
    let report = audited(&world).await;
    assert_clean(&report);
    let counts = &report.counts;
    assert_eq!(counts.entries, u64::try_from(world.sent.len()).expect("few"));
    assert_eq!(counts.answered + counts.answered_and_dead + counts.malformed, counts.entries, "{}", report.table());
    assert_eq!((counts.malformed, report.live_replicas), (12, 3), "{}", report.table());
    assert!(report.last.is_at_rest(), "{}", report.table());
    assert_clean(&audited_from_adoption(&world).await);
}

#[tokio::test]
async fn a_fleet_whose_group_and_consumers_are_destroyed_under_load_is_clean() {
    let mut world = World::with(&[("janitor-interval", "500ms")]).await;
    for _ in 0..2 {
        world.replica(&[]);
    }
    let (jobs, group) = (world.settings.stream.jobs.clone(), world.settings.stream.group.clone());
    for round in 0..3 {
        world.send_games(&format!("game-{round}-"), 60).await;
        if round == 1 {
            world.redis(&["XGROUP", "DESTROY", &jobs, &group]).await;
        } else {
            for consumer in world.presences().await.into_keys() {
                world.redis(&["XGROUP", "DELCONSUMER", &jobs, &group, &consumer]).await;
            }
        }
        is_clean_as_soon_as_the_janitor_has_looked(&world).await;
    }
    world.settled().await;
    world.at_rest().await;
    assert_clean(&audited(&world).await);
}

/// What fell out of the group may all be answered before the janitor has found it: until then the mirror is behind.
async fn is_clean_as_soon_as_the_janitor_has_looked(world: &World) {
    let began = Instant::now();
    loop {
        let report = audited(world).await;
        if report.is_clean() {
            return;
        }
        assert!(report.by_kind.keys().all(|kind| *kind == "mirror_behind"), "{}", report.table());
        assert!(began.elapsed() < PATIENCE, "{}", report.table());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn poison_and_spent_budgets_are_told_from_plain_answers() {
    let mut world = World::with(&[("retry-attempts", "2"), ("crash-budget", "1")]).await;
    for _ in 0..3 {
        world.replica(&[]);
    }
    // Its dead letter stays the stream's first, or the others might just have been trimmed.
    world.send_malformed().await;
    world.settled().await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    world.send("retry", "sim/retry").await;
    world.send("poison", "sim/abort").await;
    world.settled().await;
    world.at_rest().await;
    let report = audited(&world).await;
    assert_clean(&report);
    assert_eq!((report.counts.answered_and_dead, report.counts.answered), (2, 0), "{}", report.table());
    // Somebody takes a dead letter away.
    let dead = world.settings.stream.dead.clone();
    for number in [1, 2] {
        let letter = world.entries(&dead).await.remove(1);
        world.redis(&["XDEL", &dead, &letter.id]).await;
        let report = audited(&world).await;
        let found: Vec<String> = report.listed.iter().map(|listed| listed.entry.to_string()).collect();
        assert_eq!(report.by_kind.get("no_dead_letter"), Some(&number), "{}", report.table());
        assert!(found.contains(&letter.get("source_ref").to_owned()), "{}", report.table());
    }
}

#[tokio::test]
async fn a_worker_without_a_fence_is_caught() {
    let mut world = after_a_fleet().await;
    let job = world.send("game", "galaxy/engine:1").await.to_string();
    // It reads, is slow for longer than claim idle, and another replica claims and answers.
    world.read_as("careless", "1").await;
    let b = world.replica(&[]);
    world.settled().await;
    world.at_rest().await;
    assert_clean(&audited(&world).await);
    // It does not look who owns the entry now: XADD, XACK.
    publish(&world, "game", &job).await;
    acknowledge(&world, &job).await;
    let report = audited(&world).await;
    assert_only(&report, Kind::DuplicateOutcome, &job);
    assert_eq!(report.listed[0].game, "game");
    world.signal(b, Signal::TERM);
}

#[tokio::test]
async fn a_worker_that_answers_unscripted_is_caught_before_anything_doubles() {
    let mut world = after_a_fleet().await;
    let job = world.send("game", "galaxy/engine:1").await.to_string();
    world.read_as("careless", "1").await;
    // It dies between the two: the next owner would answer again.
    publish(&world, "game", &job).await;
    assert_only(&audited(&world).await, Kind::NotInLedger, &job);
}

#[tokio::test]
async fn a_worker_that_acknowledges_first_and_dies_is_caught() {
    let mut world = after_a_fleet().await;
    let job = world.send("game", "galaxy/engine:1").await.to_string();
    world.read_as("careless", "1").await;
    acknowledge(&world, &job).await;
    move_mirror(&world, &job).await;
    assert_only(&audited(&world).await, Kind::Orphan, &job);
    // A careless one that keeps the ledger as carelessly.
    note_in_ledger(&world, &job).await;
    assert_only(&audited(&world).await, Kind::NoOutcome, &job);
}

#[tokio::test]
async fn a_worker_that_raises_the_mirror_too_far_is_caught() {
    let mut world = after_a_fleet().await;
    let first = world.send("slow", "galaxy/engine:1").await.to_string();
    let second = world.send("quick", "galaxy/engine:1").await.to_string();
    let mirror = world.settings.stream.offset_key.clone();
    world.read_as("careless", "2").await;
    assert_clean(&audited(&world).await);
    // It answers the second, properly, and moves the mirror to what it answered last.
    settle_as(&world, "quick", &second, FAILURE).await;
    assert_only(&audited(&world).await, Kind::MirrorAhead, &first);
    // And one that writes the mirror alone is caught twice.
    world.redis(&["SET", &mirror, "99999999999999-0"]).await;
    let report = audited(&world).await;
    assert!(report.has(Kind::MirrorAhead) && report.has(Kind::ShadowDiffers), "{}", report.table());
}

#[tokio::test]
async fn forged_outcomes_and_two_containers_of_one_game_are_caught() {
    let mut world = World::new().await;
    world.replica(&[]);
    let job = world.send("game", "galaxy/engine:1").await;
    world.send("other", "galaxy/engine:1").await;
    world.settled().await;
    world.at_rest().await;
    publish(&world, "game", "99999999999999-1").await;
    publish(&world, "game", "whatever").await;
    let log = format!("{}sim:log", world.settings.start.record_prefix);
    // The engine's own form: the game's container is in it, and a second one is what is forged.
    let own = world.redis(&["GET", "rtm:sim:{rtm-game}"]).await.as_string().expect("a container");
    let id = own.split(' ').next().expect("split answers at least one");
    let start = ("start".to_owned(), format!("{id} game"));
    assert!(world.entries(&log).await.iter().any(|entry| entry.pairs.contains(&start)), "{own}");
    world.redis(&["XADD", &log, "*", "create", "another game", "start", "another game"]).await;
    let report = audited(&world).await;
    assert_eq!(report.by_kind.get("outcome_for_unknown"), Some(&2), "{}", report.table());
    assert_eq!(report.by_kind.get("two_containers"), Some(&1), "{}", report.table());
    assert_eq!(report.total, 3, "{}", report.table());
    assert!(report.table().contains("record: running"), "{job}: {}", report.table());
}

#[tokio::test]
async fn without_source_refs_entries_and_outcomes_are_counted_per_game() {
    let mut world = World::with(&[("outcome-fields", "original")]).await;
    world.replica(&[]);
    for number in 0..20 {
        world.send(&format!("game-{}", number % 7), "galaxy/engine:1").await;
    }
    world.send_malformed().await;
    world.at_rest().await;
    let report = audited(&world).await;
    assert_clean(&report);
    assert_eq!((report.counts.answered_by_game, report.counts.malformed), (20, 1), "{}", report.table());
    assert!(report.table().contains("counted per game"), "{}", report.table());
    let results = world.settings.stream.results.clone();
    world.redis(&["XADD", &results, "*", "game_id", "game-1", "outcome", "success"]).await;
    let report = audited(&world).await;
    assert_eq!((report.total, report.has(Kind::TooManyOutcomes)), (1, true), "{}", report.table());
}

#[tokio::test]
async fn what_the_original_worker_answered_is_no_violation() {
    let mut world = World::new().await;
    let (results, mirror) = (world.settings.stream.results.clone(), world.settings.stream.offset_key.clone());
    let mut last = String::new();
    for number in 0..5 {
        let game = format!("old-{number}");
        last = world.lobby.append(&game, "galaxy/engine:1", 0).await.expect("appended").to_string();
        world.redis(&["XADD", &results, "*", "game_id", &game, "outcome", "success"]).await;
        world.redis(&["SET", &mirror, &last]).await;
    }
    world.replica(&[]);
    let first = world.send("new", "galaxy/engine:1").await.to_string();
    world.at_rest().await;
    let report = audited_from_adoption(&world).await;
    assert_clean(&report);
    assert_eq!(report.counts.answered, 1, "{}", report.table());
    assert_eq!(report.counts.before_adoption, 5, "{last}: {}", report.table());
    assert_eq!(report.scope.adopted_from.map(|id| id.to_string()), Some(first));
}

/// Runs the command itself; answers its exit code, stdout and stderr.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .arg("audit")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_command_answers_by_exit_code_table_and_json() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.send("game", "galaxy/engine:1").await;
    world.settled().await;
    world.at_rest().await;
    let url = world.redis.url();
    let flags = ["--redis-url", url.as_str(), "--engine", "simulated"];
    let (code, stdout, stderr) = run(&flags);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("answered once") && stdout.contains("No violation"), "{stdout}");

    let id = publish(&world, "game", "99999999999999-1").await;
    let (code, stdout, _) = run(&[&flags[..], &["--json"]].concat());
    assert_eq!(code, Some(3), "{stdout}");
    let json: serde_json::Value = serde_json::from_str(&stdout).expect("one JSON object");
    assert_eq!((&json["schema_version"], &json["is_clean"]), (&1.into(), &false.into()), "{stdout}");
    assert_eq!(json["violations"]["listed"][0]["kind"], "outcome_for_unknown", "{stdout}");
    assert_eq!(json["violations"]["listed"][0]["entry_id"], "99999999999999-1", "{stdout} {id}");
    // Everything so far is before this.
    let (code, stdout, _) = run(&[&flags[..], &["--since", "999999999999999-0"]].concat());
    assert_eq!(code, Some(0), "{stdout}");

    assert_eq!(run(&["--redis-url", "redis://127.0.0.1:1"]).0, Some(69));
    assert_eq!(run(&["--claim-idle", "soon"]).0, Some(78));
    assert_eq!(run(&["--since", "yesterday"]).0, Some(2));
    world.redis(&["SET", "a-string", "x"]).await;
    let (code, _, stderr) = run(&[&flags[..], &["--jobs-stream", "a-string"]].concat());
    assert_eq!(code, Some(78), "{stderr}");
}
