//! Redis answers and takes no write: the first line says so, and why.

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use super::{run, stderr, stdout};
use crate::support::scrape::{free_port, metric};
use crate::support::world::{PATIENCE, World};

/// One way in which Redis refuses writes: how it begins, how it ends, what is told.
struct Case {
    begin: &'static [&'static [&'static str]],
    end: &'static [&'static [&'static str]],
    why: &'static str,
    says: &'static str,
    remedy: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        begin: &[&["CONFIG", "SET", "min-replicas-to-write", "1"]],
        end: &[&["CONFIG", "SET", "min-replicas-to-write", "0"]],
        why: "too_few_replicas",
        says: "fewer replicas of it follow than min-replicas-to-write asks for (0 follow in time) (NOREPLICAS)",
        remedy: "bring the replicas of Redis back",
    },
    Case {
        begin: &[&["CONFIG", "SET", "maxmemory", "1"]],
        end: &[&["CONFIG", "SET", "maxmemory", "0"]],
        why: "memory_full",
        says: "its memory is full (",
        remedy: "raise maxmemory",
    },
    Case {
        begin: &[&["REPLICAOF", "127.0.0.1", "1"]],
        end: &[&["REPLICAOF", "NO", "ONE"]],
        why: "read_only",
        says: "it is a read-only replica of 127.0.0.1:1 (READONLY)",
        remedy: "point redis-url at the primary",
    },
    Case {
        begin: &[&["CONFIG", "SET", "save", "3600 1"], &["BGSAVE"]],
        end: &[&["CONFIG", "SET", "save", ""]],
        why: "cannot_save",
        says: "its last snapshot has failed (MISCONF)",
        remedy: "make room on the disk of Redis",
    },
];

/// A connection with a password begins without a PING, which a server that cannot save refuses.
fn guarded(world: &World) -> String {
    world.redis.url().replace("redis://", "redis://guarded:pw@")
}

fn ask(world: &World, words: &[&str]) -> Output {
    run(world, &[words, &["--redis-url", &guarded(world)]].concat())
}

fn json(world: &World, words: &[&str]) -> Value {
    let output = ask(world, &[words, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn alert(world: &World, name: &str) -> Value {
    let all = json(world, &["alerts"]);
    let found = all["alerts"].as_array().expect("a list").iter().find(|alert| alert["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {all}")).clone()
}

/// A snapshot fails where its place is taken by a directory.
async fn block_snapshots(world: &World) {
    let answer: Vec<String> = world.redis(&["CONFIG", "GET", "dir"]).await.convert().expect("name and value");
    std::fs::create_dir(PathBuf::from(&answer[1]).join("dump.rdb")).expect("a directory of ours");
}

#[tokio::test]
async fn each_refusal_of_writes_is_said_first_with_what_helps() {
    let mut world = World::new().await;
    block_snapshots(&world).await;
    world.redis(&["ACL", "SETUSER", "guarded", "on", ">pw", "~*", "&*", "+@all"]).await;
    let port = free_port();
    world.replica(&[("http-addr", &format!("127.0.0.1:{port}")), ("redis-url", &guarded(&world))]);
    world.begun(0).await;
    for (number, case) in CASES.iter().enumerate() {
        let game = format!("game-{number}");
        world.send(&game, "galaxy/engine:1").await;
        world.settled().await;
        for words in case.begin {
            world.redis(words).await;
        }
        world
            .eventually("the replica cannot renew", async |world: &World| {
                json(world, &["replicas"])["replicas"][0]["state"] == "lost"
            })
            .await;
        let began = std::time::Instant::now();
        // What Prometheus has its alert from.
        while metric(port, r#"startjobs_condition{condition="renew"}"#) < 0.5 {
            assert!(began.elapsed() < PATIENCE, "{}: the replica does not say it\n{}", case.why, world.logs());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let status = json(&world, &["status"]);
        let sentence = status["sentence"].as_str().expect("text");
        assert!(sentence.starts_with("Down: Redis refuses writes: ") && sentence.contains(case.says), "{status}");
        assert!(sentence.contains(", so the only replica that was there cannot renew. "), "{status}");
        assert_eq!((&status["health"], &status["redis"]["refuses_writes"]["why"]), (&"down".into(), &case.why.into()));
        let problem = &status["problems"][0];
        assert_eq!(problem["alert"], "RedisRefusesWrites", "{status}");
        assert_eq!(problem["runbook"], "docs/runbooks.md#redisrefuseswrites", "{status}");
        assert_eq!(problem["next"]["command"], "startjobs doctor", "{status}");
        assert!(problem["since_ms"].as_u64().is_some(), "{status}");
        assert!(status["problems"].as_array().is_some_and(|all| all.len() == 1), "nothing else is wrong: {status}");
        assert!(status["impact"]["sentence"].as_str().is_some_and(|said| said.contains("no new jobs from Lobby")));
        let sent = ask(&world, &["send", "--game", "refused", "--image", "galaxy/engine:1"]);
        let said = String::from_utf8_lossy(&sent.stderr).into_owned();
        assert!(said.contains("the job was not appended, it was refused by Redis at "), "{}: {said}", case.why);
        let checked = ask(&world, &["check", "--max-waiting", "10"]);
        assert_eq!(checked.status.code(), Some(3), "{}: {checked:?}", case.why);
        assert_eq!(alert(&world, "RedisRefusesWrites")["state"], "pending");
        assert_eq!(alert(&world, "NoReplicas")["state"], "unknown", "it lives, and cannot say so");
        assert_eq!(alert(&world, "ReplicaLost")["state"], "quiet");
        // A command that would write says the same.
        let refused = ask(&world, &["pause"]);
        assert_eq!(refused.status.code(), Some(69), "{refused:?}");
        assert!(stderr(&refused).contains(&format!("\n  {}", case.remedy)), "{refused:?}");
        assert!(stderr(&refused).ends_with("\n  read: docs/runbooks.md#redisrefuseswrites\n"), "{refused:?}");
        let doctor = stdout(&ask(&world, &["doctor"]));
        let line = doctor.lines().find(|line| line.contains("  writes  ")).unwrap_or_else(|| panic!("{doctor}"));
        assert!(line.starts_with("fail") && line.contains(case.says), "{doctor}");
        assert!(doctor.contains(case.remedy), "{doctor}");
        for words in case.end {
            world.redis(words).await;
        }
        world
            .eventually("writes go on", async |world: &World| {
                let status = json(world, &["status"]);
                status["redis"]["refuses_writes"].is_null() && status["health"] == "healthy"
            })
            .await;
    }
}

#[tokio::test]
async fn a_server_that_cannot_save_and_has_no_password_is_told_with_what_helps() {
    let mut world = World::new().await;
    block_snapshots(&world).await;
    for words in CASES[3].begin {
        world.redis(words).await;
    }
    world
        .eventually("the snapshot has failed", async |world: &World| {
            world
                .redis(&["INFO", "persistence"])
                .await
                .as_string()
                .is_some_and(|info| info.contains("bgsave_status:err"))
        })
        .await;
    let status = run(&world, &["status", "--timeout", "1s"]);
    assert_eq!(status.status.code(), Some(69), "{status:?}");
    assert!(stderr(&status).contains("Redis cannot save its data and refuses writes (MISCONF"), "{status:?}");
    assert!(stderr(&status).contains(CASES[3].remedy), "{status:?}");
    assert!(stderr(&status).ends_with("\n  read: docs/runbooks.md#redisrefuseswrites\n"), "{status:?}");
    let doctor = stdout(&run(&world, &["doctor", "--timeout", "1s"]));
    assert!(doctor.contains("writes") && doctor.contains(CASES[3].remedy), "{doctor}");
}

#[tokio::test]
async fn without_the_right_to_write_info_is_read() {
    let world = World::new().await;
    world.create_group().await;
    let rights = "on >pw ~* &* -@all +auth +hello +select +ping +info +time +type +client|setname +client|id +evalsha +script|load \
        +xinfo +xrange +xrevrange +xlen +xpending +get +hget +hgetall +hlen +scan";
    let user: Vec<&str> = ["ACL", "SETUSER", "reader"].into_iter().chain(rights.split_whitespace()).collect();
    world.redis(&user).await;
    let url = world.redis.url().replace("redis://", "redis://reader:pw@");
    let refuses = || {
        let output = run(&world, &["status", "--json", "--redis-url", &url]);
        let status: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        status["redis"]["refuses_writes"]["why"].as_str().map(str::to_owned)
    };
    assert_eq!(refuses(), None);
    for case in CASES.iter().take(3) {
        for words in case.begin {
            world.redis(words).await;
        }
        assert_eq!(refuses().as_deref(), Some(case.why));
        for words in case.end {
            world.redis(words).await;
        }
    }
}
