//! What is shown of replicas that died, by how the others noticed it, and of whether the next death would be noticed at once.
//! The presence records are written by hand, as the scripts write them.

use serde_json::{Value, json};

use super::{line, run, stdout, text};
use crate::support::world::World;

/// As long as no test takes, so that the living stay alive.
const IDLE_MS: u64 = 600_000;

/// A world without replicas, and its clock.
struct Records {
    world: World,
    now_ms: u64,
}

impl Records {
    async fn new() -> Self {
        let world = World::new().await;
        let now_ms = world.now_ms().await;
        Self { world, now_ms }
    }

    /// A job, and `first`, which has read it and died.
    async fn of_a_dead_reader() -> (Self, String) {
        let mut records = Self::new().await;
        let id = records.world.send("game-1", "galaxy/engine:1").await.to_string();
        let now = records.world.now_ms().await;
        records.now_ms = now;
        records.world.create_group().await;
        records.world.read_as("first", "1").await;
        records.write("first", 1_000, "dead", &[("died_ms", json!(now + 400))]).await;
        (records, id)
    }

    /// Writes the record of a replica that was last seen so long ago.
    async fn write(&self, name: &str, seen_ago_ms: u64, state: &str, members: &[(&str, Value)]) {
        let mut json = json!({"born_ms": 1, "since_ms": 1, "claim_idle_ms": IDLE_MS, "host": "h", "pid": 7});
        json.as_object_mut()
            .expect("an object")
            .extend(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let key = format!("{}:replicas", self.world.settings.stream.jobs);
        self.world.redis(&["HSET", &key, name, &format!("{} {state} {json}", self.now_ms - seen_ago_ms)]).await;
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = run(&self.world, &[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"))
    }

    fn replica(&self, name: &str) -> Value {
        let all = self.json(&["replicas"]);
        let all = all["replicas"].as_array().expect("a list");
        all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {all:?}")).clone()
    }

    fn alert(&self, name: &str) -> Value {
        let all = self.json(&["alerts"]);
        let all = all["alerts"].as_array().expect("a list");
        all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {all:?}")).clone()
    }

    /// The finding about the death notice: its level and what was found.
    fn notice(&self) -> (String, String) {
        let report = self.json(&["doctor"]);
        let findings = report["findings"].as_array().expect("a list");
        let of = |name: &str, finding: &Value| finding[name].as_str().expect("text").to_owned();
        let mut found = findings.iter().filter(|finding| finding["about"] == "death notice");
        found.next().map_or_else(Default::default, |finding| (of("level", finding), of("found", finding)))
    }
}

#[tokio::test]
async fn how_and_when_a_death_was_noticed_is_shown() {
    let records = Records::new().await;
    let now = records.now_ms;
    records.write("alive", 0, "running", &[("heard_ms", json!(1)), ("gen", json!(1)), ("run", json!("r"))]).await;
    records.write("killed", 300_000, "dead", &[("died_ms", json!(now - 2_000)), ("heard_ms", json!(1))]).await;
    records.write("stopped", IDLE_MS + 9_000, "running", &[("lost_ms", json!(now - 8_000))]).await;
    records.write("silent", IDLE_MS + 5_000, "draining", &[]).await;
    // A process that was declared dead, learned it, and goes on under another name.
    records.write("renamed", 4_000, "left", &[("died_ms", json!(now - 5_000))]).await;
    for (name, state, noticed, at) in [
        ("alive", "running", Value::Null, Value::Null),
        ("killed", "dead", json!("disconnect"), json!(now - 2_000)),
        ("stopped", "lost", json!("silence"), json!(now - 8_000)),
        ("silent", "lost", Value::Null, Value::Null),
        ("renamed", "left", Value::Null, Value::Null),
    ] {
        let shown = records.replica(name);
        assert_eq!(shown["state"], state, "{shown}");
        assert_eq!((&shown["noticed"], &shown["noticed_ms"]), (&noticed, &at), "{shown}");
    }
    let shown = text(&records.world, &["replicas"]);
    let row = |name: &str| line(&shown, name).to_owned();
    assert!(shown.lines().next().is_some_and(|heading| heading.trim_end().ends_with("  NOTICE")), "{shown}");
    assert!(row("alive").ends_with("  on"), "{shown}");
    assert!(row("killed").contains("  dead  ") && row("killed").contains("  disconnect, "), "{shown}");
    assert!(row("stopped").contains("  lost  ") && row("stopped").contains("  silence, "), "{shown}");
    assert!(row("silent").contains("  lost  ") && row("silent").ends_with("  -"), "{shown}");

    // Both kinds raise the same alert; the process under another name raises none.
    let status = records.json(&["status"]);
    let counts = &status["replicas"];
    assert_eq!((&counts["alive"], &counts["dead"], &counts["lost"]), (&json!(1), &json!(1), &json!(2)), "{status}");
    assert_eq!(line(&text(&records.world, &["status"]), "replicas"), "1 alive, 1 dead, 2 lost");
    let alert = records.alert("ReplicaLost");
    assert_eq!((&alert["state"], &alert["value"]), (&json!("pending"), &json!(3.0)), "{alert}");
    assert!(alert["detail"].as_str().is_some_and(|detail| detail.contains(", connection closed ")), "{alert}");
    for quiet in ["RestartLoop", "NoReplicas", "DisconnectNoticeOff"] {
        assert_eq!(records.alert(quiet)["state"], "quiet", "{quiet}");
    }
}

#[tokio::test]
async fn whether_the_next_death_would_be_noticed_at_once_is_shown() {
    let records = Records::new().await;
    let grace = ("disconnect_grace_ms", json!(300));
    records.write("heard", 0, "running", &[grace.clone(), ("heard_ms", json!(1)), ("gen", json!(1))]).await;
    assert_eq!(records.replica("heard")["disconnect_notice"], "on");
    assert_eq!(records.notice(), ("ok".to_owned(), "the death of 1 of 1 replicas would be noticed at once".to_owned()));

    // One of a version that does not know of it is no reason to warn, and neither is the setting.
    records.write("old", 0, "running", &[]).await;
    assert_eq!(records.replica("old")["disconnect_notice"], Value::Null);
    assert_eq!(records.alert("DisconnectNoticeOff")["state"], "quiet");
    records
        .write("off", 0, "running", &[("disconnect_grace_ms", json!(0)), ("started_at_ms", json!(records.now_ms))])
        .await;
    assert_eq!(records.replica("off")["disconnect_notice"], "off");
    let (level, found) = records.notice();
    assert_eq!(level, "ok", "{found}");
    assert!(
        found.ends_with(" of 3 replicas would be noticed at once, 1 with disconnect-grace off, 1 of an older version"),
        "{found}"
    );
    assert_eq!(records.alert("DisconnectNoticeOff")["state"], "pending", "for 15 minutes it has not been off");
    let started = ("started_at_ms", json!(records.now_ms - 1_000_000));
    records.write("off", 0, "running", &[("disconnect_grace_ms", json!(0)), started]).await;
    assert_eq!(records.alert("DisconnectNoticeOff")["state"], "firing");

    records.write("off", 0, "running", std::slice::from_ref(&grace)).await;
    assert_eq!(records.replica("off")["disconnect_notice"], "down");
    assert_eq!(records.alert("DisconnectNoticeOff")["state"], "unknown", "for how long is not known");
    let (level, found) = records.notice();
    assert!(level == "warn" && found.contains(", 1 not heard at this moment"), "{found}");

    records.write("off", 0, "running", &[grace, ("deaf_ms", json!(1))]).await;
    assert_eq!(records.replica("off")["disconnect_notice"], "refused");
    assert_eq!(records.alert("DisconnectNoticeOff")["state"], "pending");
    let (level, found) = records.notice();
    assert!(level == "warn" && found.contains(", 1 refused by the server"), "{found}");
    assert_eq!(run(&records.world, &["doctor"]).status.code(), Some(0), "everything works");
    let shown = stdout(&run(&records.world, &["doctor"]));
    assert!(shown.contains("a dead replica is noticed after claim-idle instead of at once"), "{shown}");
}

#[tokio::test]
async fn a_job_with_which_replicas_die_says_that_it_waits_to_run_alone() {
    let (records, id) = Records::of_a_dead_reader().await;
    records.write("other", 0, "running", &[]).await;
    let attempts = format!("{}:attempts", records.world.settings.stream.jobs);
    records.world.redis(&["HSET", &attempts, &id, "1 0 0"]).await;
    let told = text(&records.world, &["inspect", &id]);
    assert!(!told.contains("suspected"), "{told}");
    records.world.redis(&["HSET", &attempts, &id, "2 0 0"]).await;
    let told = text(&records.world, &["inspect", &id]);
    assert!(told.contains("; it is suspected, because 2 replicas ended with it: "), "{told}");
}

#[tokio::test]
async fn a_takeover_tells_how_the_death_was_noticed() {
    let (records, id) = Records::of_a_dead_reader().await;
    let now = records.now_ms;
    let story = records.json(&["inspect", &id]);
    let gone = &story["takeover"]["from"][0];
    assert_eq!(
        (&gone["replica"], &gone["noticed"], &gone["noticed_ms"]),
        (&json!("first"), &json!("disconnect"), &json!(now + 400)),
        "{story}"
    );
    let told = text(&records.world, &["inspect", &id]);
    assert!(
        told.contains(
            "; its replica first (on h, pid 7) died (noticed by its closed connection); it waits for a replica"
        ),
        "{told}"
    );
    assert!(told.contains("  replica dead   last sign of first (on h, pid 7); it held this entry; "), "{told}");
    assert!(
        told.contains("  death noticed  the connection of first had closed: others may take over at once"),
        "{told}"
    );

    // Another one has claimed it; of the first only the times tell.
    let stream = records.world.settings.stream.clone();
    records.world.redis(&["XCLAIM", &stream.jobs, &stream.group, "heir", "0", &id]).await;
    records.world.redis(&["HSET", &format!("{}:attempts", stream.jobs), &id, "1 0 0"]).await;
    records.write("heir", 0, "running", &[]).await;
    let told = text(&records.world, &["inspect", &id]);
    assert!(told.contains(" died, heir took over (noticed by its closed connection)\n"), "{told}");

    records.write("first", IDLE_MS, "running", &[("lost_ms", json!(now + 700))]).await;
    let told = text(&records.world, &["inspect", &id]);
    assert!(told.contains(" was lost, heir took over (noticed after 10m of silence)\n"), "{told}");
    assert!(told.contains("  replica lost   ") && told.contains("; others may take over 10m later"), "{told}");
    assert!(
        told.contains("  death noticed  first had been silent for its claim idle of 10m: others took over"),
        "{told}"
    );

    // One that goes on under another name did not die.
    records.write("first", 1_000, "left", &[("died_ms", json!(now + 400))]).await;
    assert_eq!(records.json(&["inspect", &id])["takeover"], Value::Null);
}

#[tokio::test]
async fn rights_that_only_the_death_notice_needs_are_a_warning() {
    let world = World::new().await;
    let doctor = |user: &str| {
        let url = world.redis.url().replace("redis://", &format!("redis://{user}:pw@"));
        let output = run(&world, &["doctor", "--json", "--redis-url", &url]);
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let findings = report["findings"].as_array().expect("a list").iter();
        // What only hand-overs need is told apart.
        let is_publish = |finding: &Value| finding["found"].as_str().is_some_and(|found| found.contains("PUBLISH"));
        let rights = findings.filter(|finding| finding["about"] == "rights" && !is_publish(finding));
        let rights: Vec<Value> = rights.cloned().collect();
        (output.status.code(), rights)
    };
    let jobs = world.settings.stream.jobs.clone();
    let channels = format!("&{jobs}:alive:*");
    let (subscribe, numsub) = (format!("SUBSCRIBE {jobs}:alive:c"), "PUBSUB NUMSUB".to_owned());
    for (rules, missing) in [
        (vec!["+@all", &channels], None),
        (vec!["+@all", "-subscribe", &channels], Some(&subscribe)),
        (vec!["+@all"], Some(&subscribe)),
        (vec!["+@all", "-pubsub|numsub", &channels], Some(&numsub)),
    ] {
        world.redis(&[&["ACL", "SETUSER", "worker", "reset", "on", ">pw", "~*"], &rules[..]].concat()).await;
        let (code, rights) = doctor("worker");
        assert_eq!(code, Some(0), "{rights:?}");
        assert!(rights[0]["level"] == "ok" && rights.len() == 1 + usize::from(missing.is_some()), "{rights:?}");
        if let Some(missing) = missing {
            let found = format!("user worker may not: {missing}");
            assert_eq!((&rights[1]["level"], &rights[1]["found"]), (&json!("warn"), &json!(found)), "{rights:?}");
            let remedy = rights[1]["remedy"].as_str().expect("text");
            assert!(remedy.ends_with("a dead replica is noticed after claim-idle instead of at once"), "{remedy}");
        }
    }
}
