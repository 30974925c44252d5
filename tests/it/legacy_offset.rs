//! The original worker's offset: the fleet begins where it stopped, and it could begin wherever the fleet stops.

use std::collections::HashSet;
use std::time::Duration;

use rustix::process::Signal;
use startjobs::lobby::accounting::Sent;
use startjobs::stream::entry_id::EntryId;

use crate::support::scrape::{free_port, metric};
use crate::support::world::{PATIENCE, World, numbers};

const OFFSET: &str = "rtmanager:stream_offsets:startjobs";
const JOBS: &str = "runtime:start_jobs";
const GROUP: &str = "rtmanager.startjobs";

/// An entry as Redis answers it: its id, then names and values in turn.
type Flat = (String, Vec<String>);

/// The original worker, as far as the streams see it.
struct Legacy<'a>(&'a World);

impl Legacy<'_> {
    /// The entry it would read next.
    async fn next(&self, after: &str) -> Option<(String, String)> {
        let reply = self.0.redis(&["XREAD", "COUNT", "1", "STREAMS", JOBS, after]).await;
        if reply.is_null() {
            return None;
        }
        let streams: Vec<(String, Vec<Flat>)> = reply.convert().expect("entries");
        let (id, flat) = streams.into_iter().next()?.1.into_iter().next()?;
        let at = flat.iter().position(|word| word == "game_id")?;
        Some((id, flat[at + 1].clone()))
    }

    /// Where it would begin.
    async fn offset(&self) -> String {
        self.0.redis(&["GET", OFFSET]).await.as_string().unwrap_or_else(|| "0-0".to_owned())
    }

    /// Everything it would read from its offset on.
    async fn reads(&self) -> Vec<String> {
        let (mut ids, mut after) = (Vec::new(), self.offset().await);
        while let Some((id, _)) = self.next(&after).await {
            after.clone_from(&id);
            ids.push(id);
        }
        ids
    }

    /// Answers this many entries as it did: six fields, then the offset.
    async fn answers(&self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let after = self.offset().await;
            let Some((id, game)) = self.next(&after).await else {
                break;
            };
            let results = &self.0.settings.stream.results;
            let fields = [
                "game_id",
                &game,
                "outcome",
                "success",
                "container_id",
                "legacy",
                "engine_endpoint",
                "http://legacy:1",
                "error_code",
                "",
                "error_message",
                "",
            ];
            let mut words = vec!["XADD", results, "*"];
            words.extend(fields);
            self.0.redis(&words).await;
            self.0.redis(&["SET", OFFSET, &id]).await;
            ids.push(id);
        }
        ids
    }
}

/// The jobs that the fleet has answered, in order; a job that was answered twice is there twice.
async fn answered_by_fleet(world: &World) -> Vec<String> {
    let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
    outcomes.into_iter().filter_map(|outcome| outcome.source_ref).collect()
}

/// Waits until the fleet has answered these and nothing else, and rests.
async fn answers_exactly(world: &mut World, jobs: &[EntryId]) {
    let mut expected: Vec<String> = jobs.iter().map(ToString::to_string).collect();
    expected.sort();
    let count = expected.len();
    world
        .eventually("the answers are there", async |world: &World| answered_by_fleet(world).await.len() >= count)
        .await;
    world.at_rest().await;
    let mut answered = answered_by_fleet(world).await;
    answered.sort();
    assert_eq!(answered, expected);
}

async fn twenty_jobs(world: &mut World) -> Vec<EntryId> {
    let mut jobs = Vec::new();
    for number in 0..20 {
        jobs.push(world.send(&format!("game-{number}"), "galaxy/engine:1").await);
        // A bare millisecond names one entry only where no two share it.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    jobs
}

#[tokio::test]
async fn the_fleet_begins_right_after_a_stored_offset() {
    let mut world = World::new().await;
    let jobs = twenty_jobs(&mut world).await;
    world.redis(&["SET", OFFSET, &jobs[9].to_string()]).await;
    let a = world.replica(&[]);
    world.begun(a).await;
    world.replica(&[]);
    answers_exactly(&mut world, &jobs[10..]).await;
    let started = world.log(a);
    let line = started.with("start jobs consumer started").next().expect("the replica has begun");
    assert!(numbers(line["start_entry_id"].as_str().unwrap_or_default()) >= numbers(&jobs[9].to_string()));
}

#[tokio::test]
async fn the_fleet_begins_right_after_a_stored_offset_that_is_only_milliseconds() {
    let mut world = World::new().await;
    let jobs = twenty_jobs(&mut world).await;
    world.redis(&["SET", OFFSET, &jobs[9].ms.to_string()]).await;
    world.replica(&[]);
    world.replica(&[]);
    // `ms` is `ms-0`: the entry of that millisecond with sequence 0 counts as answered.
    assert_eq!(jobs[9].seq, 0);
    answers_exactly(&mut world, &jobs[10..]).await;
}

#[tokio::test]
async fn without_an_offset_the_fleet_begins_at_the_first_entry() {
    let mut world = World::new().await;
    let jobs = twenty_jobs(&mut world).await;
    world.replica(&[]);
    answers_exactly(&mut world, &jobs).await;
}

#[tokio::test]
async fn what_the_legacy_worker_answered_meanwhile_is_not_answered_again() {
    let mut world = World::with(&[("drain-timeout", "1s")]).await;
    let mut jobs = Vec::new();
    // Two that the fleet cannot finish before it is stopped, so that they stay pending below the legacy's offset.
    for number in 0..10 {
        let image = if number % 5 == 1 { "sim/slow:20s" } else { "galaxy/engine:1" };
        jobs.push(world.send(&format!("game-{number}"), image).await);
    }
    world.replica(&[]);
    world.eventually("eight answers", async |world: &World| answered_by_fleet(world).await.len() == 8).await;
    world.fleet.stop(PATIENCE).await;
    assert_eq!(world.lobby.pending().await.expect("a group").len(), 2);
    assert_eq!(world.lobby.mirror().await.expect("a mirror"), Some(jobs[0].to_string()));
    for number in 10..20 {
        jobs.push(world.send(&format!("game-{number}"), "galaxy/engine:1").await);
    }

    // From the mirror on: the first slow one, some that the fleet has answered, the second slow one, and three more.
    let by_legacy = Legacy(&world).answers(12).await;
    assert_eq!(by_legacy, jobs[1..13].iter().map(ToString::to_string).collect::<Vec<_>>());
    let before = answered_by_fleet(&world).await;

    let b = world.replica(&[]);
    world.replica(&[]);
    world.eventually("the rest is answered", async |world: &World| answered_by_fleet(world).await.len() == 15).await;
    world.at_rest().await;
    let after = answered_by_fleet(&world).await;
    let unique: HashSet<&String> = after.iter().collect();
    assert_eq!(unique.len(), after.len(), "answered twice: {after:?}");
    for id in &by_legacy {
        assert!(!after[before.len()..].contains(id), "{id} was answered by the legacy worker");
    }
    for job in &jobs[13..] {
        assert!(after.contains(&job.to_string()), "{job} has no answer");
    }
    let took_over = "took over the legacy worker's offset";
    let by_c = world.log(b + 1).count(took_over);
    assert_eq!(world.log(b).count(took_over) + by_c, 1, "{}", world.logs());
}

#[tokio::test]
async fn whenever_the_fleet_stops_the_legacy_worker_would_miss_nothing() {
    stops_at_random_moments(Signal::KILL).await;
}

#[tokio::test]
async fn whenever_the_fleet_is_terminated_the_legacy_worker_would_miss_nothing() {
    stops_at_random_moments(Signal::TERM).await;
}

async fn stops_at_random_moments(signal: Signal) {
    const ROUNDS: usize = 12;
    let seed = std::env::var("STARTJOBS_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed: STARTJOBS_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::with(&[("simulated-latency", "5ms..60ms"), ("drain-timeout", "2s")]).await;
    let mut cut_short = 0;
    for round in 0..ROUNDS {
        let replicas = [world.replica(&[]), world.replica(&[])];
        let work = random.usize(0..60);
        for number in 0..work {
            if random.u8(..) < 20 {
                world.send_malformed().await;
            } else {
                let image = if random.u8(..) < 20 { "sim/retry" } else { "galaxy/engine:1" };
                world.send(&format!("game-{round}-{}", number % 40), image).await;
            }
            world.watch_mirror().await;
        }
        let stop_after = std::time::Instant::now() + Duration::from_millis(random.u64(0..250));
        while std::time::Instant::now() < stop_after {
            world.watch_mirror().await;
        }
        for replica in replicas {
            world.signal(replica, signal);
        }
        for replica in replicas {
            world.ended(replica, PATIENCE).await;
        }
        world.watch_mirror().await;
        let unanswered = world.account().await.lost;
        cut_short += usize::from(!unanswered.is_empty());
        let seen: HashSet<String> = Legacy(&world).reads().await.into_iter().collect();
        for id in &unanswered {
            assert!(seen.contains(id), "round {round}: the legacy worker would never read {id}");
        }
    }
    assert!(cut_short > 0, "no round was cut short");
    world.replica(&[]);
    world.replica(&[]);
    world.settled_under_watch().await;
    world.at_rest().await;
    world.sim_log().await;
}

#[tokio::test]
async fn an_offset_that_is_no_id_stops_the_start_and_names_the_key() {
    for bad in ["yesterday", "5-", "18446744073709551616-0", "-1", ""] {
        let mut world = World::new().await;
        world.send("game", "galaxy/engine:1").await;
        world.redis(&["SET", OFFSET, bad]).await;
        let a = world.replica(&[]);
        let status = world.ended(a, PATIENCE).await;
        assert_eq!(status.code(), Some(78), "offset {bad:?}: {}", world.logs());
        assert!(world.log(a).text().contains(OFFSET), "the message does not name the key: {}", world.logs());
        assert!(answered_by_fleet(&world).await.is_empty());
        // Nothing was made that a later, right start would stumble over.
        world.redis(&["DEL", OFFSET]).await;
        world.replica(&[]);
        world.settled().await;
    }
}

#[tokio::test]
async fn an_offset_beyond_the_end_of_the_stream_belongs_to_another_stream() {
    let mut world = World::new().await;
    let jobs = twenty_jobs(&mut world).await;
    let beyond = format!("{}-0", jobs[19].ms + 3_600_000);
    world.redis(&["SET", OFFSET, &beyond]).await;
    world.replica(&[]);
    answers_exactly(&mut world, &jobs).await;
}

#[tokio::test]
async fn an_offset_moved_by_somebody_else_is_not_taken_over_while_a_replica_lives() {
    let mut world = World::with(&[("slots", "1")]).await;
    let a = world.replica(&[]);
    world.begun(a).await;
    let slow = world.send("slow", "sim/slow:3s").await;
    world
        .eventually("the slow job is taken", async |world: &World| {
            world.lobby.pending().await.is_ok_and(|pending| pending.len() == 1)
        })
        .await;
    let mut jobs = vec![slow];
    for number in 0..5 {
        jobs.push(world.send(&format!("game-{number}"), "galaxy/engine:1").await);
    }
    let last = jobs[5].to_string();
    world.redis(&["SET", OFFSET, &last]).await;
    let b = world.replica(&[]);
    world
        .logged(b, "another client moved the offset", |log| log.count("another client moved the offset mirror") == 1)
        .await;
    let line = world.log(b);
    let line = line.with("another client moved the offset mirror").next().expect("it was just there");
    assert_eq!(line["level"], "ERROR");
    world.settled().await;
    answers_exactly(&mut world, &jobs).await;
    assert_eq!(world.sent.values().filter(|kind| **kind == Sent::Job).count(), jobs.len());
    // The group still begins where it did: nothing was moved by hand.
    let pending = world.redis(&["XPENDING", JOBS, GROUP]).await;
    assert!(pending.is_list());
}

#[tokio::test]
async fn a_legacy_worker_beside_the_fleet_doubles_answers_and_loses_none() {
    let mut world = World::with(&[("simulated-latency", "5ms..60ms"), ("janitor-interval", "100ms")]).await;
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let a = world.replica(&[("http-addr", &address)]);
    world.begun(a).await;
    let mut by_legacy = Vec::new();
    for round in 0..15 {
        for number in 0..6 {
            world.send(&format!("game-{round}-{number}"), "galaxy/engine:1").await;
        }
        // It reads on from wherever the key is, and writes over it.
        by_legacy.extend(Legacy(&world).answers(4).await);
    }
    world
        .eventually("the fleet has answered all of its own", async |world: &World| {
            answered_by_fleet(world).await.len() >= world.sent.len()
        })
        .await;
    // The legacy worker stops, as it must; what the fleet settles next puts the mirror right.
    world.send("last", "galaxy/engine:1").await;
    world.at_rest().await;
    let mut answered = answered_by_fleet(&world).await;
    answered.sort();
    let mut sent: Vec<String> = world.sent.keys().cloned().collect();
    sent.sort();
    assert_eq!(answered, sent, "each job has one answer of the fleet");
    assert!(!by_legacy.is_empty(), "the legacy worker had its share");
    assert!(metric(port, "startjobs_mirror_foreign_total") >= 1.0, "{}", world.logs());
    world.logged(a, "who wrote", |log| log.text().contains("another client wrote the offset mirror")).await;
    // Forward again: a replica that comes later takes nothing over, and answers nothing twice.
    world.replica(&[]);
    world.send("after", "galaxy/engine:1").await;
    world
        .eventually("it is answered", async |world: &World| answered_by_fleet(world).await.len() >= world.sent.len())
        .await;
    world.at_rest().await;
    let unique: HashSet<String> = answered_by_fleet(&world).await.into_iter().collect();
    assert_eq!(unique.len(), world.sent.len());
}
