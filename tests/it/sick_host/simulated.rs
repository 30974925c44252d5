//! Simulated hosts: the set `rtm:sim:full` names the replicas whose disk is full.

use std::collections::BTreeMap;
use std::time::Instant;

use startjobs::stream::entry_id::EntryId;

use super::{sick, working};
use crate::support::scrape;
use crate::support::world::{PATIENCE, World};

const ATTEMPTS: &str = "runtime:start_jobs:attempts";
const FULL: &str = "rtm:sim:full";
/// Starts nowhere, and might be the host's fault.
const BAD_IMAGE: &str = "sim/unavailable";

/// What is counted of each entry: crashes, failures, since when.
async fn counted(world: &World) -> BTreeMap<String, String> {
    let flat: Vec<String> = world.redis(&["HGETALL", ATTEMPTS]).await.convert().expect("a hash");
    let pairs = flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    pairs.filter(|(field, _)| field.parse::<EntryId>().is_ok()).collect()
}

async fn failures(world: &World) -> u64 {
    let counted = counted(world).await;
    counted.values().filter_map(|text| text.split(' ').nth(1)?.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn a_sick_host_leaves_its_jobs_to_another_and_none_fails() {
    let mut world = World::with(&[("slots", "8"), ("retry-attempts", "2"), ("claim-idle", "20s")]).await;
    let (a, name) = working(&mut world).await;
    world.redis(&["SADD", FULL, &name]).await;
    // Only the sick one is there when they come.
    world.send_games("early", 20).await;
    world.logged(a, "that its host is sick", |log| sick(log).0 == 1).await;
    let (b, _) = working(&mut world).await;
    world.send_games("late", 20).await;
    let account = world.settled().await;
    assert_eq!(account.outcomes.get("started"), Some(&40), "{account:?}");
    world.at_rest().await;
    world.logged(b, "all outcomes", |log| log.processed().len() == 40).await;
    assert_eq!(world.log(a).processed(), Vec::<String>::new());
    assert_eq!(sick(&world.log(b)), (0, 0));
    assert_eq!(counted(&world).await, BTreeMap::new());

    // The disk has room again: the first job that comes shows it.
    world.redis(&["SREM", FULL, &name]).await;
    let began = Instant::now();
    let mut round = 0;
    while sick(&world.log(a)).1 == 0 {
        assert!(began.elapsed() < PATIENCE, "it is never well again\n{}", world.logs());
        world.send_games(&format!("after{round}-"), 4).await;
        world.settled().await;
        round += 1;
    }
    world.at_rest().await;
    assert_eq!(world.account().await.outcomes.keys().collect::<Vec<_>>(), ["started"]);
}

#[tokio::test]
async fn on_the_only_host_jobs_wait_until_it_is_well_and_no_failure_is_counted() {
    let port = scrape::free_port();
    let address = format!("127.0.0.1:{port}");
    let mut world = World::with(&[("slots", "16"), ("retry-attempts", "2"), ("http-addr", &address)]).await;
    let (a, name) = working(&mut world).await;
    world.redis(&["SADD", FULL, &name]).await;
    world.send_games("game", 40).await;
    world.logged(a, "that its host is sick", |log| sick(log).0 == 1).await;
    let (status, text) = scrape::get(port, "/readyz").expect("an answer");
    assert!(status == 503 && text.contains("the host is sick") && text.contains("no space left on device"), "{text}");
    assert!(scrape::metric(port, "startjobs_condition{condition=\"engine\"}") > 0.5);
    world.eventually("what was counted is withdrawn", async |world: &World| failures(world).await == 0).await;

    // Canaries come one by one, at most one a second, and none is counted.
    let tried = || scrape::metric(port, "startjobs_retries_total{counted=\"no\"}");
    let first = tried();
    // It comes when what had begun before has ended.
    world.eventually("a canary fails", async |_: &World| tried() > first).await;
    let counted_before = scrape::metric(port, "startjobs_retries_total{counted=\"yes\"}");
    assert!(counted_before <= 16.0, "{counted_before} were counted before the host was found sick");
    let (before, began) = (tried(), Instant::now());
    world.eventually("three canaries fail", async |_: &World| tried() >= before + 3.0).await;
    assert!(began.elapsed().as_secs_f64() > 1.5, "they came faster than one a second");
    assert!((scrape::metric(port, "startjobs_retries_total{counted=\"yes\"}") - counted_before).abs() < 0.5);
    assert_eq!((failures(&world).await, world.lobby.answers().await.expect("counts")), (0, (0, 0)));

    world.redis(&["SREM", FULL, &name]).await;
    let account = world.settled().await;
    assert_eq!(account.outcomes.get("started"), Some(&40), "{account:?}");
    world.at_rest().await;
    world.logged(a, "that its host is well", |log| sick(log) == (1, 1)).await;
    assert_eq!(counted(&world).await, BTreeMap::new());
}

#[tokio::test]
async fn a_bad_image_alone_is_answered_when_its_budget_is_spent() {
    let mut world = World::with(&[("retry-attempts", "2")]).await;
    let (a, _) = working(&mut world).await;
    let mut jobs = Vec::new();
    for number in 0..6 {
        jobs.push(world.send(&format!("bad{number}"), BAD_IMAGE).await);
    }
    world.settled().await;
    world.at_rest().await;
    for job in jobs {
        assert_eq!(world.outcome(job).await.get("error_code"), "engine_unavailable");
    }
    assert_eq!(world.lobby.all_dead().await.expect("dead letters").len(), 6);
    assert_eq!(sick(&world.log(a)), (0, 0));
}

#[tokio::test]
async fn a_bad_image_waits_on_a_sick_host_and_keeps_no_host_sick() {
    let mut world = World::with(&[("slots", "8"), ("retry-attempts", "3")]).await;
    let (a, name) = working(&mut world).await;
    world.redis(&["SADD", FULL, &name]).await;
    // The oldest of all: a claim from the front brings this one.
    let bad = world.send("bad", BAD_IMAGE).await;
    world.send_games("game", 12).await;
    world.logged(a, "that its host is sick", |log| sick(log).0 == 1).await;
    world.eventually("what was counted is withdrawn", async |world: &World| failures(world).await == 0).await;
    world.redis(&["SREM", FULL, &name]).await;
    let account = world.settled().await;
    assert_eq!(account.outcomes.get("started"), Some(&12), "{account:?}");
    assert_eq!(world.outcome(bad).await.get("error_code"), "engine_unavailable");
    let letters = world.lobby.all_dead().await.expect("dead letters");
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "retries_exhausted"));
    world.at_rest().await;
}

/// Too few jobs to judge a host by: each is tried on the other host instead of spending its budget here.
#[tokio::test]
async fn a_few_jobs_on_a_full_host_succeed_on_another() {
    let mut world = World::with(&[("slots", "8"), ("retry-attempts", "2")]).await;
    let a = world.replica(&[("engine-host-id", "a")]);
    world.begun(a).await;
    world.eventually("it is there", async |world: &World| !world.presences().await.is_empty()).await;
    let a_name = world.presences().await.into_keys().next().expect("a presence");
    world.redis(&["SADD", "rtm:sim@a:full", &a_name]).await;
    let b = world.replica(&[("engine-host-id", "b")]);
    world.begun(b).await;
    world
        .eventually("both have told where they are and that they serve", async |world: &World| {
            let presences = world.presences().await;
            ["a", "b"].iter().all(|host| {
                let is_it = |text: &&String| text.contains(&format!(r#""engine_host":"{host}""#));
                presences.values().find(is_it).is_some_and(|text| text.contains(r#""serves":true"#))
            })
        })
        .await;
    for round in 0..10 {
        world.send_games(&format!("game{round}-"), 2).await;
        world.settled().await;
    }
    let account = world.account().await;
    assert_eq!(account.outcomes.get("started"), Some(&20), "{account:?}\n{}", world.logs());
    let handed = world.log(a).with("handed over").count();
    assert!(handed > 0, "none of them came to the full host first\n{}", world.logs());
    world.logged(b, "all outcomes", |log| log.processed().len() == 20).await;
}
