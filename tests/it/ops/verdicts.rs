//! No state that `alerts` calls critical lets `status` say that the fleet is well. The states are written into Redis as the
//! fleet writes them, with times that have passed.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use startjobs::ops::alerts::rules;

use super::{json as shown, run, stderr, stdout, text};
use crate::support::world::World;

const JOBS: &str = "runtime:start_jobs";
const GROUP: &str = "rtmanager.startjobs";
/// As long as no test takes, so that the living stay alive.
const IDLE_MS: u64 = 600_000;
const MINUTE_MS: u64 = 60_000;

/// Alerts that need more than Redis remembers. What a verdict makes of them is tested with the verdict itself.
const UNKNOWN: [&str; 11] = [
    "BacklogGrowing",
    "ClaimStorm",
    "DeclaredDeadAlive",
    "EngineDown",
    "LogLinesDropped",
    "MirrorHeldBack",
    "OrphansFound",
    "PolicyBroken",
    "RedisDown",
    "RestartLoop",
    "WorkerStuck",
];

/// Replicas and Redis of their own are needed for this one.
const ELSEWHERE: [&str; 1] = ["RedisRefusesWrites"];

struct Scene {
    world: World,
    now_ms: u64,
}

impl Scene {
    async fn run(&self, words: &[&str]) {
        self.world.redis(words).await;
    }

    /// A replica that was last seen so long ago.
    async fn replica(&self, name: &str, seen_ago_ms: u64, state: &str, members: Value) {
        let mut about = json!({"claim_idle_ms": IDLE_MS, "host": "h", "pid": 7, "started_at_ms": 1, "slots": 4});
        about.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        let record = format!("{} {state} {about}", self.now_ms - seen_ago_ms);
        self.run(&["HSET", &format!("{JOBS}:replicas"), name, &record]).await;
    }

    /// A group, and a replica that runs.
    async fn fleet(&self) {
        self.run(&["XGROUP", "CREATE", JOBS, GROUP, "0", "MKSTREAM"]).await;
        self.replica("r1", 0, "running", json!({})).await;
    }

    fn ago(&self, minutes: u64, number: u64) -> String {
        format!("{}-{number}", self.now_ms - minutes * MINUTE_MS)
    }

    async fn letter(&self, reason: &str) {
        self.run(&["XADD", &format!("{JOBS}:dead"), &self.ago(3, 0), "source_ref", "1-1", "reason", reason]).await;
    }

    /// One state, by the alert that belongs to it.
    async fn state(&self, alert: &str) {
        self.run(&["FLUSHALL"]).await;
        self.fleet().await;
        match alert {
            "NoReplicas" => self.replica("r1", 10 * MINUTE_MS, "left", json!({})).await,
            "ReplicaLost" => {
                let died_ms = self.now_ms - 5 * MINUTE_MS;
                self.replica("r2", 6 * MINUTE_MS, "dead", json!({"died_ms": died_ms})).await;
            }
            "OldestWaitingTooOld" => {
                self.run(&["XADD", JOBS, &self.ago(5, 0), "game_id", "g", "image_ref", "i:1"]).await;
            }
            "DeadLettersGrowing" => self.letter("malformed").await,
            "EntriesLost" => self.letter("entry_lost").await,
            "DisconnectNoticeOff" => self.replica("r1", 0, "running", json!({"disconnect_grace_ms": 0})).await,
            "HostDead" => {
                let line = format!("{} 1000 key {{}}", self.now_ms - 5 * MINUTE_MS);
                self.run(&["HSET", "rtm:hosts", "gone", &line]).await;
            }
            "HostFull" => {
                let line = format!(r#"{} {IDLE_MS} key {{"containers_max":1}}"#, self.now_ms);
                self.run(&["HSET", "rtm:hosts", "full", &line]).await;
                let since = (self.now_ms - 20 * MINUTE_MS).to_string();
                self.run(&["ZADD", "rtm:placed:full", &since, "game-1"]).await;
                // It has found no room for a job.
                self.replica("r1", 0, "running", json!({"engine_host": "full", "sick": true})).await;
            }
            "ForeignOffset" => {
                let mirror = self.world.settings.stream.offset_key.clone();
                self.run(&["MSET", &mirror, "7-0", &format!("{mirror}:shadow"), "5-0"]).await;
            }
            "StreamExhausted" => {
                let largest = "18446744073709551615-18446744073709551615";
                self.run(&["XADD", "runtime:job_results", largest, "f", "v"]).await;
            }
            "LagUnknown" => {
                for number in 1..4 {
                    self.run(&["XADD", JOBS, &format!("{}-0", self.now_ms + number), "game_id", "g"]).await;
                }
                self.run(&["XDEL", JOBS, &format!("{}-0", self.now_ms + 2)]).await;
            }
            other => panic!("no state for {other}"),
        }
    }

    /// The alerts that fire or are about to, with their severity.
    fn raised(&self) -> Vec<(String, String, String)> {
        let output = run(&self.world, &["alerts", "--json"]);
        let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let word = |alert: &Value, name: &str| alert[name].as_str().expect("text").to_owned();
        let all = all["alerts"].as_array().expect("a list").iter();
        let all = all.map(|alert| {
            assert!(alert["next"]["command"].is_string() && alert["next"]["route"].is_string(), "{alert}");
            (word(alert, "name"), word(alert, "state"), word(alert, "severity"))
        });
        all.filter(|(_, state, _)| ["firing", "pending"].contains(&state.as_str())).collect()
    }

    /// What `status` says of it.
    fn judged(&self, raised: &[(String, String, String)]) -> Value {
        let status = shown(&self.world, &["status"]);
        let health = status["health"].as_str().expect("text");
        let has = |severity: &str, state: &str| {
            raised.iter().any(|one| (one.2 == severity || severity.is_empty()) && one.1 == state)
        };
        if has("critical", "firing") {
            assert!(["down", "degraded"].contains(&health), "{raised:?}: {status}");
            assert_ne!(status["impact"]["players"], "served", "{status}");
        }
        assert!(health != "healthy" || !has("", "firing"), "{raised:?}: {status}");
        status
    }
}

#[tokio::test]
async fn no_alert_that_fires_leaves_the_fleet_well() {
    let world = World::new().await;
    let now_ms = world.now_ms().await;
    let scene = Scene { world, now_ms };
    let mut seen = BTreeSet::new();
    for rule in rules::ALL.iter().filter(|rule| ![&UNKNOWN[..], &ELSEWHERE].concat().contains(&rule.name)) {
        scene.state(rule.name).await;
        let raised = scene.raised();
        let status = scene.judged(&raised);
        let (_, state, _) =
            raised.iter().find(|one| one.0 == rule.name).unwrap_or_else(|| panic!("{raised:?}: {status}"));
        // Since when these are so is not to be known.
        let is_untimed = ["ForeignOffset", "StreamExhausted", "LagUnknown"].contains(&rule.name);
        assert_eq!(state == "pending", is_untimed, "{raised:?}");
        if rule.severity == "critical" {
            assert!(["down", "degraded"].contains(&status["health"].as_str().expect("text")), "{status}");
        }
        // An operator's pause hides nothing that is critical.
        run(&scene.world, &["pause", "--reason", "a repair"]);
        let held = scene.judged(&scene.raised());
        assert!(held["sentence"].as_str().expect("text").contains("a repair"), "{held}");
        seen.insert(rule.name);
    }
    let known: BTreeSet<&str> = rules::ALL.iter().map(|rule| rule.name).collect();
    seen.extend(UNKNOWN);
    seen.extend(ELSEWHERE);
    assert_eq!(seen, known, "an alert without a state");
}

#[tokio::test]
async fn a_mistyped_name_is_told_with_what_there_is() {
    let world = World::new().await;
    let now_ms = world.now_ms().await;
    let scene = Scene { world, now_ms };
    scene.fleet().await;
    let status = text(&scene.world, &["status", "--jobs-stream", "runtime:strat_jobs"]);
    let first = status.lines().next().expect("a sentence");
    let expected = "There is no fleet here: the stream runtime:strat_jobs does not exist. This database has \
        runtime:start_jobs with the group rtmanager.startjobs. Check the setting jobs-stream.";
    assert_eq!(first, expected);
    let status = text(&scene.world, &["status", "--group", "typo"]);
    assert!(
        status.starts_with("There is no fleet here: the stream runtime:start_jobs has no group typo, only "),
        "{status}"
    );
    assert_eq!(shown(&scene.world, &["status", "--group", "typo"])["other_groups"], json!([GROUP]));
    for (words, of_group) in [
        (&["replicas"][..], true),
        (&["jobs"], true),
        (&["pending"], true),
        (&["history"], false),
        (&["dead", "list"], false),
    ] {
        let stream = run(&scene.world, &[words, &["--jobs-stream", "runtime:strat_jobs"]].concat());
        assert_eq!((stream.status.code(), stdout(&stream).as_str()), (Some(1), ""), "{words:?}");
        let said = stderr(&stream);
        assert!(
            said.starts_with("startjobs: There is no fleet here: the stream runtime:strat_jobs does not"),
            "{said}"
        );
        assert!(said.contains("\n  This database has runtime:start_jobs with the group "), "{said}");
        assert_eq!(run(&scene.world, words).status.code(), Some(0), "{words:?}");
        if of_group {
            let group = run(&scene.world, &[words, &["--group", "typo"]].concat());
            assert_eq!(group.status.code(), Some(1), "{words:?}: {group:?}");
            assert!(stderr(&group).contains(" has no group typo, only rtmanager.startjobs\n"), "{group:?}");
        }
    }
    scene.run(&["FLUSHALL"]).await;
    scene.run(&["RPUSH", &format!("{JOBS}:replicas"), "x"]).await;
    let status = text(&scene.world, &["status"]);
    assert!(
        status.starts_with("Not known: the key runtime:start_jobs:replicas holds a list where a hash "),
        "{status}"
    );
}

#[tokio::test]
async fn foreign_text_of_a_reason_is_cut_in_the_first_line_and_whole_below() {
    let world = World::new().await;
    let now_ms = world.now_ms().await;
    let scene = Scene { world, now_ms };
    scene.fleet().await;
    let reason = "r".repeat(100);
    scene.letter(&reason).await;
    let status = text(&scene.world, &["status"]);
    let (first, below) = status.split_once('\n').expect("lines");
    assert!(first.contains(&format!("1 {}...", "r".repeat(64))) && !first.contains(&"r".repeat(65)), "{first}");
    assert!(below.contains(&reason), "{below}");
}

#[tokio::test]
async fn how_long_a_replica_that_has_ended_is_told_of_is_said_with_how_that_ends_at_once() {
    let world = World::new().await;
    let now_ms = world.now_ms().await;
    let scene = Scene { world, now_ms };
    scene.state("ReplicaLost").await;
    let below = text(&scene.world, &["status"]);
    assert!(
        below.contains("\n  ends: in 5") && below.contains("\n  at once: startjobs replicas forget --gone\n"),
        "{below}"
    );
    let forgotten = run(&scene.world, &["replicas", "forget", "--gone"]);
    assert_eq!(forgotten.status.code(), Some(1), "it may live, by its own claim-idle: {forgotten:?}");
    assert!(stderr(&forgotten).contains("r2: not forgotten: it was seen 6m ago and may live"), "{forgotten:?}");
}

#[tokio::test]
async fn a_replica_that_has_ended_is_forgotten_unless_it_holds_something() {
    let world = World::new().await;
    let now_ms = world.now_ms().await;
    let scene = Scene { world, now_ms };
    scene.fleet().await;
    let died = json!({"died_ms": now_ms - 11 * MINUTE_MS});
    for name in ["r2", "r3"] {
        scene.replica(name, 12 * MINUTE_MS, "dead", died.clone()).await;
    }
    scene.run(&["XADD", JOBS, &scene.ago(12, 0), "game_id", "g", "image_ref", "i:1"]).await;
    scene.world.read_as("r3", "1").await;
    let forget = |words: &[&str]| run(&scene.world, &[&["replicas", "forget"], words].concat());
    let living = forget(&["r1"]);
    assert_eq!(stderr(&living), "startjobs: r1: not forgotten: it is alive\n  `startjobs replicas` shows how it is\n");
    let unknown = forget(&["typo"]);
    assert_eq!((unknown.status.code(), stderr(&unknown).contains("there is no such replica")), (Some(1), true));
    let gone = forget(&["--gone"]);
    assert_eq!((gone.status.code(), stdout(&gone).as_str()), (Some(1), "r2: forgotten\n"), "{gone:?}");
    assert!(stderr(&gone).contains("r3: not forgotten: it holds entries"), "{gone:?}");
    scene.run(&["XACK", JOBS, GROUP, &scene.ago(12, 0)]).await;
    assert_eq!(stdout(&forget(&["r3"])), "r3: forgotten\n");
    let lost = scene.raised().into_iter().find(|one| one.0 == "ReplicaLost");
    assert_eq!(lost, None);
    assert_eq!(stderr(&forget(&["--gone"])), "startjobs: no replica is dead or lost\n");
}

#[tokio::test]
async fn sixty_columns_stay_readable() {
    let world = World::new().await;
    let now_ms = world.now_ms().await;
    let scene = Scene { world, now_ms };
    scene.state("ReplicaLost").await;
    let line = format!("{} 1000 key {{}}", now_ms - 5 * MINUTE_MS);
    scene.run(&["HSET", "rtm:hosts", "a-host-with-a-rather-long-name", &line]).await;
    let wide = text(&scene.world, &["status"]);
    let narrow = std::process::Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .args(["status", "--redis-url", &scene.world.redis.url()])
        .env_clear()
        .env("COLUMNS", "60")
        .output()
        .expect("the binary under test runs");
    let narrow = stdout(&narrow);
    assert!(wide.lines().any(|line| line.chars().count() > 60), "{wide}");
    assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
    assert!(narrow.contains("a-host-with-a-rather-long-name"), "{narrow}");
}

#[tokio::test]
async fn watching_without_a_break_is_refused() {
    let world = World::new().await;
    for interval in ["0s", "99ms"] {
        let output = run(&world, &["status", "--watch", interval]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).contains(" is too short: use 100ms or more"), "{output:?}");
    }
}
