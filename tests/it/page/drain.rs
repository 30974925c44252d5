//! One replica is drained on the page: after a question that says what it holds and what is left.

use std::time::Duration;

use super::acts::begun;
use super::says;
use crate::support::world::World;

/// The names of the replicas, once so many are there.
async fn names(world: &mut World, count: usize) -> Vec<String> {
    world.eventually("they are present", async |world: &World| world.presences().await.len() == count).await;
    world.presences().await.into_keys().collect()
}

#[tokio::test]
async fn a_replica_is_drained_after_a_question_that_says_what_it_holds_and_what_is_left() {
    let mut world = World::with(&[("simulated-latency", "2s")]).await;
    let mut browser = begun(&mut world).await;
    let first = names(&mut world, 1).await;
    let other = world.replica(&[]);
    world.begun(other).await;
    let name = names(&mut world, 2).await.into_iter().find(|name| !first.contains(name)).expect("it is present");
    says(&browser.address, "/replicas", "2 running").await;
    let without = browser.get("/replicas").await;
    assert!(!without.body.contains("Drain"), "{}", without.words());
    browser.login().await;
    let code = browser.code().await;
    let shown = browser.get("/replicas").await.body;
    assert!(shown.contains(&format!("form=\"drain\" name=\"replica\" value=\"{name}\"")), "{shown}");
    for path in ["/replicas/drain"] {
        assert_eq!(browser.get(path).await.status, 303, "{path} is no screen");
        assert_eq!(browser.post(path, &[("replica", &name), ("confirmed", "yes"), ("code", "")]).await.status, 403);
    }
    let form = [("code", code.as_str()), ("replica", name.as_str())];
    let question = browser.post("/replicas/drain", &form).await.words();
    assert!(question.contains("Drain this replica?") && question.contains("It holds no job"), "{question}");
    assert!(question.contains("1 replica is left, with 64 slots, 64 of them free now."), "{question}");
    assert!(!question.contains("the last one"), "{question}");
    let confirmed = [&form[..], &[("confirmed", "yes"), ("reason", "INC-42")]].concat();
    let told = browser.post("/replicas/drain", &confirmed).await;
    assert!(told.words().contains("It drains") || told.words().contains("It has left."), "{}", told.words());
    assert!(world.ended(other, Duration::from_secs(20)).await.success());
    says(&browser.address, "/replicas", "1 running").await;
    says(&browser.address, "/", "ann@page drains").await;
    let again = browser.post("/replicas/drain", &confirmed).await.words();
    assert!(again.contains("Nothing was changed:"), "{again}");
    let unknown = [("code", code.as_str()), ("replica", "no-such-replica"), ("confirmed", "yes")];
    let unknown = browser.post("/replicas/drain", &unknown).await.words();
    assert!(unknown.contains("Nothing was changed: no replica no-such-replica is remembered"), "{unknown}");
    let log = world.log(0);
    let line = log.with("changed on the page").find(|line| line["action"] == "drain").expect("an audit line");
    assert_eq!((line["by"].as_str(), line["reason"].as_str()), (Some("ann"), Some("INC-42")));
    assert_eq!(line["ids"].as_str(), Some(name.as_str()));
}

#[tokio::test]
async fn before_the_last_replica_drains_the_page_says_that_nothing_reads_then() {
    let mut world = World::with(&[("simulated-latency", "5s")]).await;
    let mut browser = begun(&mut world).await;
    browser.login().await;
    let (code, name) = (browser.code().await, names(&mut world, 1).await.remove(0));
    world.send("game-1", "galaxy/engine:1").await;
    world.held(1).await;
    says(&browser.address, "/replicas", "1 of 64").await;
    let form = [("code", code.as_str()), ("replica", name.as_str())];
    let question = browser.post("/replicas/drain", &form).await;
    let words = question.words();
    for said in
        ["It is the last one that takes work", "It holds 1 job, 1 of them being started", "This page is served by it"]
    {
        assert!(words.contains(said), "{said}: {words}");
    }
    assert!(question.body.contains("class=\"confirm crit\""), "{words}");
    let confirmed = [&form[..], &[("confirmed", "yes")]].concat();
    let told = browser.post("/replicas/drain", &confirmed).await.words();
    assert!(told.contains("It drains, and this page ends with it."), "{told}");
    assert!(world.ended(0, Duration::from_secs(20)).await.success());
    world.settled().await;
}
