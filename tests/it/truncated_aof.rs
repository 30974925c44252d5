//! Redis dies and its append-only file has lost its end: whatever survives is answered exactly once.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use startjobs::audit::finding::Kind;
use startjobs::audit::{Options, Since, audit};
use startjobs::embedded::redis_server::RedisServer;

use crate::support::servers::{FETCHED, fetched};
use crate::support::world::World;

/// The part of the append-only file that is written to: one file before 7.0, a folder of parts since.
fn written_part(directory: &Path) -> PathBuf {
    let single = directory.join("appendonly.aof");
    if single.exists() {
        return single;
    }
    let parts = fs::read_dir(directory.join("appendonlydir")).expect("the folder of the parts");
    let mut parts: Vec<PathBuf> = parts.map(|part| part.expect("an entry").path()).collect();
    parts.retain(|part| part.to_string_lossy().ends_with(".incr.aof"));
    parts.sort();
    parts.pop().expect("a part that is written to")
}

/// Rewrites the append-only file, as `docs/runbooks.md` tells after such a start. Where the file ends within a command of
/// a transaction, Redis leaves the commands before it at the end of the file, ignores them, and carries them out at the
/// next start: half of a settlement.
async fn rewrite(world: &mut World) {
    world
        .eventually("the rewrite has begun", async |world: &World| world.try_redis(&["BGREWRITEAOF"]).await.is_ok())
        .await;
    world
        .eventually("the file is rewritten", async |world: &World| {
            let info = world.redis(&["INFO", "persistence"]).await.as_string().unwrap_or_default();
            let has = |line: &str| info.lines().any(|one| one.trim() == line);
            has("aof_rewrite_in_progress:0") && has("aof_rewrite_scheduled:0") && has("aof_last_bgrewrite_status:ok")
        })
        .await;
}

/// The ids of the jobs that the stream has.
async fn surviving(world: &World) -> HashSet<String> {
    world.entries(&world.settings.stream.jobs).await.into_iter().map(|entry| entry.id).collect()
}

/// How long the part that is written to is.
fn written(world: &World) -> (PathBuf, u64) {
    let part = written_part(world.redis.directory());
    let length = fs::metadata(&part).expect("the file").len();
    (part, length)
}

async fn is_answered_exactly_once_as_far_as_it_survives(program: &Path) {
    const ROUNDS: usize = 5;
    let seed = std::env::var("STARTJOBS_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed: STARTJOBS_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let redis = RedisServer::start_with(program, &["--appendfsync", "always"]).expect("redis-server starts");
    let mut world = World::on(redis, &[("simulated-latency", "5ms..60ms"), ("janitor-interval", "200ms")]).await;
    for _ in 0..2 {
        world.replica(&[]);
    }
    // What a rewrite has left. Before 7.0 it begins with a snapshot, without the end of which Redis does not start.
    let mut rewritten = 0;
    let mut lost = 0;
    for round in 0..ROUNDS {
        for number in 0..60 {
            world.send(&format!("game-{round}-{number}"), "galaxy/engine:1").await;
            if number % 20 == 0 {
                world.send_malformed().await;
            }
        }
        let in_hand = world.under_way(&format!("round-{round}"), None).await;
        println!("round {round}: {in_hand:?} is in hand");
        world.redis.kill();
        let (part, length) = written(&world);
        // Mostly a little, sometimes much.
        let most = if round % 2 == 0 { length / 50 } else { length / 2 };
        let cut = random.u64(0..=most.min(length - rewritten));
        let file = fs::OpenOptions::new().write(true).open(&part).expect("the file");
        file.set_len(length - cut).expect("it can be cut");
        world.redis.start_again().expect("redis-server starts again");
        world.eventually("Redis answers", async |world: &World| world.try_redis(&["PING"]).await.is_ok()).await;
        rewrite(&mut world).await;
        let there = surviving(&world).await;
        let before = world.sent.len();
        world.sent.retain(|id, _| there.contains(id));
        println!(
            "round {round}: {cut} of {length} bytes ({rewritten} of them rewritten) and {} entries are gone",
            before - world.sent.len()
        );
        rewritten = written(&world).1;
        lost += before - world.sent.len();
    }
    world.send("last", "galaxy/engine:1").await;
    world.eventually("what survived is answered", async |world: &World| world.account().await.lost.is_empty()).await;
    world.at_rest().await;
    let account = world.account().await;
    assert!(account.answered_twice.is_empty(), "{account:?}\n{}", world.logs());
    // A worker may answer what it held when Redis lost it; nothing else may be named.
    assert!(account.unexpected.iter().all(|what| what.contains("for unknown entry")), "{account:?}");
    assert!(account.unexpected.len() <= lost, "{lost} were lost: {account:?}");
    let mut sources: Vec<String> = Vec::new();
    for outcome in world.lobby.all_outcomes().await.expect("outcomes") {
        sources.extend(outcome.source_ref);
    }
    let count = sources.len();
    assert_eq!(sources.into_iter().collect::<HashSet<_>>().len(), count, "answered twice\n{}", world.logs());
    let options = Options { since: Since::Ledger, stuck_after: Duration::from_secs(60), list_max: 20 };
    let report = audit(&world.settings, &options).await.expect("Redis answers");
    // The simulated engine's containers are in the same Redis: a worker that had one may publish its success when the
    // container is gone with the rest.
    let only = report.by_kind.keys().all(|kind| *kind == Kind::SuccessWithoutContainer.name());
    assert!(only, "{}\n{}", report.table(), world.logs());
    println!("{lost} entries were lost by Redis, {} of them answered", report.counts.absent_from_history);
}

#[tokio::test]
async fn an_append_only_file_without_its_end_leaves_every_surviving_job_with_one_answer() {
    is_answered_exactly_once_as_far_as_it_survives(Path::new("redis-server")).await;
}

#[tokio::test]
async fn the_same_on_the_other_versions_of_redis() {
    for program in FETCHED.into_iter().filter_map(fetched) {
        is_answered_exactly_once_as_far_as_it_survives(&program).await;
    }
}
