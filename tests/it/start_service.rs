//! What the start service promises, through real replicas on the simulated engine: one container per game, and the
//! right word for every way a job can go. And entries of every shape.

use std::time::{Duration, Instant, SystemTime};

use ring::digest::{SHA256, digest};
use startjobs::lobby::accounting::Sent;
use startjobs::stream::entry_id::EntryId;

use crate::support::world::{Entry, World};

const SIX: [&str; 6] = ["game_id", "outcome", "container_id", "engine_endpoint", "error_code", "error_message"];
const OURS: [&str; 4] = ["source_ref", "requested_at_ms", "finished_at_ms", "attempt"];

/// Two replicas that work, so that jobs of one game meet on both.
async fn two_replicas(settings: &[(&str, &str)]) -> World {
    let mut world = World::with(settings).await;
    for _ in 0..2 {
        let replica = world.replica(&[]);
        world.begun(replica).await;
    }
    world
}

/// The codes of these jobs' outcomes, sorted.
async fn codes(world: &World, jobs: &[EntryId]) -> Vec<String> {
    let mut codes = Vec::new();
    for &job in jobs {
        codes.push(world.outcome(job).await.get("error_code").to_owned());
    }
    codes.sort();
    codes
}

#[tokio::test]
async fn two_jobs_of_one_game_on_two_replicas_are_one_start_and_one_replay() {
    // One slot each: the second job goes to the other replica.
    let mut world = two_replicas(&[("slots", "1"), ("simulated-latency", "200ms")]).await;
    for round in 0..4 {
        let game = format!("game-{round}");
        let jobs = [world.send(&game, "galaxy/engine:1").await, world.send(&game, "galaxy/engine:1").await];
        world.settled().await;
        assert_eq!(codes(&world, &jobs).await, ["", "replay_no_op"]);
        let sim = world.sim_log().await;
        for job in jobs {
            assert_eq!(world.outcome(job).await.get("container_id"), sim.the_only_container(&game));
        }
        assert_eq!(sim.created(&game).len(), 1, "{sim:?}");
    }
    for replica in 0..2 {
        world.logged(replica, "an outcome", |log| !log.processed().is_empty()).await;
    }
}

#[tokio::test]
async fn eight_jobs_of_one_game_at_once_are_one_start_and_seven_replays() {
    let mut world = two_replicas(&[("slots", "4"), ("simulated-latency", "100ms")]).await;
    let mut jobs = Vec::new();
    for _ in 0..8 {
        jobs.push(world.send("game", "galaxy/engine:1").await);
    }
    world.settled().await;
    world.at_rest().await;
    let mut expected = vec![""];
    expected.extend(["replay_no_op"; 7]);
    assert_eq!(codes(&world, &jobs).await, expected);
    let sim = world.sim_log().await;
    sim.the_only_container("game");
    assert_eq!(sim.created("game").len(), 1, "{sim:?}");
}

#[tokio::test]
async fn a_game_whose_container_is_gone_is_started_anew() {
    let mut world = two_replicas(&[]).await;
    let first = world.send("game", "galaxy/engine:1").await;
    world.settled().await;
    let gone = world.remove_container("game").await;
    assert_eq!(world.outcome(first).await.get("container_id"), gone);
    let second = world.send("game", "galaxy/engine:1").await;
    world.settled().await;
    let outcome = world.outcome(second).await;
    assert_eq!(outcome.get("error_code"), "");
    assert_ne!(outcome.get("container_id"), gone);
    assert_eq!(outcome.get("container_id"), world.sim_log().await.the_only_container("game"));
}

#[tokio::test]
async fn another_image_is_a_conflict_only_while_the_container_lives() {
    let mut world = two_replicas(&[]).await;
    world.send("game", "galaxy/engine:1").await;
    world.settled().await;
    let refused = world.send("game", "galaxy/engine:2").await;
    world.settled().await;
    let outcome = world.outcome(refused).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", "image_conflict"));
    assert_eq!((outcome.get("container_id"), outcome.get("engine_endpoint")), ("", ""));
    world.sim_log().await.the_only_container("game");

    world.remove_container("game").await;
    let taken = world.send("game", "galaxy/engine:2").await;
    world.settled().await;
    let outcome = world.outcome(taken).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("success", ""));
    assert_eq!(outcome.get("container_id"), world.sim_log().await.the_only_container("game"));
}

#[tokio::test]
async fn a_spent_budget_is_answered_and_kept_and_frees_the_game() {
    let mut world = two_replicas(&[("retry-attempts", "3")]).await;
    let job = world.send("game", "sim/retry").await;
    world.settled().await;
    world.at_rest().await;
    let outcome = world.outcome(job).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", "simulated_error"));
    let dead = world.entries(&world.settings.stream.dead).await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    let expected = [
        ("source_ref", job.to_string()),
        ("reason", "retries_exhausted".to_owned()),
        ("failures", "3".to_owned()),
        ("crashes", "0".to_owned()),
        ("outcome_id", outcome.id.clone()),
        ("game_id", "game".to_owned()),
        ("image_ref", "sim/retry".to_owned()),
    ];
    for (name, value) in expected {
        assert_eq!(dead[0].get(name), value, "{name}: {dead:?}");
    }
    assert_eq!(world.sim_log().await.existing(), 0);

    let later = world.send("game", "galaxy/engine:1").await;
    world.settled().await;
    assert_eq!(world.outcome(later).await.get("error_code"), "");
    world.sim_log().await.the_only_container("game");
}

#[tokio::test]
async fn passing_errors_pass() {
    let settings =
        [("simulated-errors", "0.3"), ("retry-attempts", "30"), ("retry-min", "20ms"), ("retry-max", "40ms")];
    let mut world = two_replicas(&settings).await;
    for number in 0..80 {
        world.send(&format!("game-{number}"), "galaxy/engine:1").await;
    }
    let account = world.settled().await;
    world.at_rest().await;
    let replays = account.outcomes.get("replay_no_op").copied().unwrap_or(0);
    assert_eq!(account.outcomes["started"] + replays, 80, "{account:?}");
    let failed: usize = world.log(0).count("start service failed") + world.log(1).count("start service failed");
    assert!((10..80).contains(&failed), "{failed} attempts of 80 jobs failed");
    let sim = world.sim_log().await;
    assert_eq!((sim.existing(), sim.running()), (80, 80));
}

/// The engine's lot, from its description: decided by seed and entry id alone.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
fn fails_by_lot(seed: u64, job: EntryId, share: f64) -> bool {
    let digest = digest(&SHA256, format!("{seed}\0failure\0{job}").as_bytes());
    let first = digest.as_ref().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    ((first >> 11) as f64 / (1_u64 << 53) as f64) < share
}

#[tokio::test]
async fn jobs_that_fail_by_lot_are_the_same_whoever_tries() {
    let mut world = two_replicas(&[("simulated-failures", "0.2"), ("simulated-seed", "7")]).await;
    let mut jobs = Vec::new();
    for number in 0..150 {
        jobs.push(world.send(&format!("game-{number}"), "galaxy/engine:1").await);
    }
    world.settled().await;
    let mut failed = 0;
    for &job in &jobs {
        let outcome = world.outcome(job).await;
        let expected = if fails_by_lot(7, job, 0.2) { "simulated_failure" } else { "" };
        assert_eq!(outcome.get("error_code"), expected, "{outcome:?}");
        failed += usize::from(!expected.is_empty());
    }
    assert!((10..60).contains(&failed), "{failed} of 150");
    assert_eq!(world.sim_log().await.existing(), jobs.len() - failed);
    let dead = world.lobby.all_dead().await.expect("dead letters");
    assert!(dead.is_empty(), "a failure that was answered is no dead letter: {dead:?}");
}

#[tokio::test]
async fn a_job_older_than_the_start_deadline_is_answered_instead_of_started() {
    let mut world = two_replicas(&[("start-deadline", "1m")]).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let text = |age: Duration| now.saturating_sub(age).as_millis().to_string();
    let mut send = async |game: &str, requested: &str| {
        let fields = [("game_id", game), ("image_ref", "galaxy/engine:1"), ("requested_at_ms", requested)];
        world.send_fields(&fields, Sent::Job).await
    };
    let late = send("late", &text(Duration::from_secs(120))).await;
    let in_time = send("in-time", &text(Duration::from_secs(20))).await;
    let unknown = send("unknown", "0").await;
    world.settled().await;
    world.at_rest().await;
    let outcome = world.outcome(late).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", "start_deadline_exceeded"));
    assert_eq!(codes(&world, &[in_time, unknown]).await, ["", ""]);
    let sim = world.sim_log().await;
    assert!(sim.created("late").is_empty(), "{sim:?}");
    assert_eq!(sim.existing(), 2);
}

async fn a_success_and_a_failure(outcome_fields: &str) -> [Entry; 2] {
    let mut world = World::with(&[("outcome-fields", outcome_fields)]).await;
    world.replica(&[]);
    for (game, image) in [("runs", "galaxy/engine:1"), ("exits", "sim/exit")] {
        let requested = [("game_id", game), ("image_ref", image), ("requested_at_ms", "-17")];
        world.send_fields(&requested, Sent::Job).await;
    }
    world.at_rest().await;
    let mut outcomes = world.entries(&world.settings.stream.results).await;
    outcomes.sort_by_key(|outcome| outcome.get("outcome") == "failure");
    outcomes.try_into().expect("two outcomes")
}

#[tokio::test]
async fn original_outcomes_have_exactly_the_six_fields_of_the_contract_in_order() {
    for outcome in a_success_and_a_failure("original").await {
        assert_eq!(outcome.names(), SIX, "{outcome:?}");
    }
}

#[tokio::test]
async fn extended_outcomes_have_four_more_in_order() {
    let [success, failure] = a_success_and_a_failure("extended").await;
    for outcome in [&success, &failure] {
        assert_eq!(outcome.names(), [&SIX[..], &OURS[..]].concat(), "{outcome:?}");
        assert_eq!(outcome.get("requested_at_ms"), "-17");
        assert_eq!(outcome.get("attempt"), "1");
    }
    assert_eq!((success.get("game_id"), success.get("error_message")), ("runs", ""));
    assert!(!success.get("container_id").is_empty() && success.get("engine_endpoint").starts_with("http://"));
    assert_eq!((failure.get("game_id"), failure.get("error_code")), ("exits", "engine_exited"));
    assert_eq!((failure.get("container_id"), failure.get("engine_endpoint")), ("", ""));
    assert!(!failure.get("error_message").is_empty());
}

/// Appends what no text can hold: the entry is written as a Lua table.
async fn append_bytes(world: &mut World, pairs: &str, kind: Sent) -> String {
    let script = format!("return redis.call('XADD', KEYS[1], '*', unpack({{ {pairs} }}))");
    let jobs = world.settings.stream.jobs.clone();
    let id = world.redis(&["EVAL", &script, "1", &jobs]).await.as_string().expect("an id");
    world.sent.insert(id.clone(), kind);
    id
}

#[tokio::test]
async fn entries_of_every_shape_get_their_outcome_or_their_dead_letter() {
    let mut world = two_replicas(&[]).await;
    let jobs = [
        // Bytes of any kind in fields that nobody asks for, in names too.
        r"'game_id', 'binary', 'image_ref', 'galaxy/engine:1', '\255\254', '\0\1\2', 'x', '\200'",
        // Of repeated fields the last wins.
        r"'game_id', 'first', 'game_id', 'last', 'image_ref', 'no such', 'image_ref', 'galaxy/engine:1'",
        // A megabyte that nobody asks for.
        r"'game_id', 'huge', 'image_ref', 'galaxy/engine:1', 'more', string.rep('x', 1000000)",
        r"'game_id', '  trimmed\n', 'image_ref', '\t galaxy/engine:1 ', 'requested_at_ms', ' +5 '",
        r"'requested_at_ms', '', 'image_ref', 'galaxy/engine:1', 'game_id', 'no-time'",
    ];
    let malformed = [
        r"'game_id', '\255\254', 'image_ref', 'galaxy/engine:1'",
        r"'game_id', 'g', 'image_ref', '\192'",
        r"'game_id', 'g', 'image_ref', 'galaxy/engine:1', 'requested_at_ms', '\128'",
        r"'game_id', 'g', 'image_ref', 'galaxy/engine:1', 'requested_at_ms', '9223372036854775808'",
        r"'game_id', 'g', 'image_ref', 'galaxy/engine:1', 'requested_at_ms', '1.5'",
        r"'game_id', string.rep('g', 70000), 'image_ref', 'galaxy/engine:1'",
        r"'game_id', 'g', 'game_id', ' ', 'image_ref', 'galaxy/engine:1'",
        r"'game_id', 'g'",
        r"'image_ref', 'galaxy/engine:1'",
        r"'', ''",
    ];
    for pairs in jobs {
        append_bytes(&mut world, pairs, Sent::Job).await;
    }
    for pairs in malformed {
        append_bytes(&mut world, pairs, Sent::Malformed).await;
    }
    let account = world.settled().await;
    world.at_rest().await;
    assert_eq!(account.outcomes["started"], jobs.len(), "{account:?}");
    assert_eq!(account.malformed, malformed.len(), "{account:?}");
    let sim = world.sim_log().await;
    for game in ["binary", "last", "huge", "trimmed", "no-time"] {
        sim.the_only_container(game);
    }
    // Byte for byte: compared inside Redis, because no text can hold them.
    let script = "
      for _, letter in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
        local fields, id = letter[2], letter[2][2]
        local original = redis.call('XRANGE', KEYS[2], id, id)[1][2]
        if #fields ~= 18 + #original then return 'length of ' .. id end
        -- Of one value no more than 64 KiB is kept.
        for at, word in ipairs(original) do
          if fields[18 + at] ~= string.sub(word, 1, 65536) then return 'word of ' .. id end
        end
      end
      return 'equal'";
    let streams = &world.settings.stream;
    let reply = world.redis(&["EVAL", script, "2", &streams.dead, &streams.jobs]).await;
    assert_eq!(reply.as_string().as_deref(), Some("equal"));
}

#[tokio::test]
async fn a_malformed_entry_of_five_thousand_fields_is_one_dead_letter_with_its_first_pairs_in_order() {
    let mut world = two_replicas(&[]).await;
    let pairs: Vec<(String, String)> = (0..5_000).map(|n| (format!("name-{n}"), format!("value-{n}"))).collect();
    let words: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let id = world.send_fields(&words, Sent::Malformed).await;
    world.send("game", "galaxy/engine:1").await;
    world.settled().await;
    world.at_rest().await;
    let dead = world.entries(&world.settings.stream.dead).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].get("source_ref"), id.to_string());
    assert_eq!(dead[0].get("reason"), "malformed");
    let kept = &dead[0].pairs[9..];
    assert_eq!(kept, &pairs[..kept.len()]);
    // More than this one command of a script cannot carry; the detail says that there were more.
    assert_eq!(kept.len(), 3_000);
    assert!(dead[0].get("detail").contains("kept the first 3000 of 5000 fields and "), "{:?}", dead[0].get("detail"));
}

#[tokio::test]
async fn a_store_that_is_well_again_is_noticed_while_everything_in_hand_backs_off() {
    // Whatever fails waits for longer than this test lasts.
    let mut world = World::with(&[("retry-min", "5m"), ("retry-max", "5m"), ("slots", "1")]).await;
    let replica = world.replica(&[]);
    world.begun(replica).await;
    let failing = world.lobby.append("failing", "sim/retry", 17).await.expect("appended").to_string();
    world.logged(replica, "the failure", |log| log.count("start service failed") == 1).await;

    // Everything but the records of games.
    world.redis(&["ACL", "SETUSER", "default", "resetkeys", "~runtime:*", "~rtmanager:*"]).await;
    let refused = world.send("refused", "galaxy/engine:1").await.to_string();
    world.logged(replica, "that the store refuses", |log| log.conditions().contains_key("store")).await;
    // Another takes it, and with it the last job that would try the store.
    let streams = world.settings.stream.clone();
    world.redis(&["XCLAIM", &streams.jobs, &streams.group, "another", "0", &refused, "JUSTID"]).await;
    world
        .eventually("it is let go", async |world: &World| {
            world.presences().await.values().any(|presence| presence.contains("\"held\":1}"))
        })
        .await;
    let held = world.lobby.pending().await.expect("the group is there");
    assert!(held.iter().any(|entry| entry.id == failing), "{held:?}");
    world.send("later", "galaxy/engine:1").await;
    let waiting = Instant::now();
    while waiting.elapsed() < Duration::from_secs(3) {
        assert!(!world.account().await.lost.is_empty(), "nothing is started that the store would refuse");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.redis(&["ACL", "SETUSER", "default", "allkeys"]).await;
    let healed = Instant::now();
    world.settled().await;
    println!("answered {:?} after the store was well again", healed.elapsed());
    world.logged(replica, "the end of it", |log| log.count("recovered") == 1).await;
    let times = world.log(replica).with("recovered").next().and_then(|line| line["times"].as_u64());
    assert!(times.is_some_and(|times| (3..=60).contains(&times)), "probed {times:?} times");
    assert_eq!(world.redis(&["EXISTS", "rtm:probe"]).await.as_i64(), Some(1));
    assert!(world.redis(&["PTTL", "rtm:probe"]).await.as_i64().is_some_and(|ms| ms > 0));
}
