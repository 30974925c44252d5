//! Many jobs at once: for one game one start, for many games as many containers, and no more starts at once than
//! allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{GAME, Value, assert_answers, created_and_started, docker, ends_well, the_only_container, world};

/// No replica dies here, so none is taken for dead: not even one that a busy machine lets stand still for seconds.
const NEVER_DEAD: (&str, &str) = ("claim-idle", "60s");

#[tokio::test]
async fn eight_jobs_for_one_game_on_two_replicas_are_one_start_and_seven_replays() {
    let Some(dockerd) = docker() else { return };
    // Few slots, so that neither replica can take all of them.
    let mut world = world(&dockerd, &[("slots", "4"), NEVER_DEAD]).await;
    let replicas = [world.replica(&[]), world.replica(&[])];
    for replica in replicas {
        world.begun(replica).await;
    }
    for _ in 0..8 {
        world.send("game", GAME).await;
    }
    ends_well(&mut world).await;
    let container = the_only_container(&dockerd, "game");
    assert_eq!(created_and_started(&dockerd, "game"), (1, 1));
    let account = world.account().await;
    let expected = BTreeMap::from([("started".to_owned(), 1), ("replay_no_op".to_owned(), 7)]);
    assert_eq!(account.outcomes, expected, "{}", world.logs());
    for outcome in world.lobby.all_outcomes().await.expect("outcomes") {
        assert_eq!(outcome.container_id, container, "{outcome:?}");
        assert_answers(&outcome.engine_endpoint, "game").await;
    }
    for replica in replicas {
        world.logged(replica, "an outcome", |log| !log.processed().is_empty()).await;
    }
}

#[tokio::test]
async fn many_games_are_as_many_containers_and_no_more_starts_at_once_than_allowed() {
    const GAMES: usize = 24;
    const STARTS_AT_ONCE: usize = 2;
    let Some(dockerd) = docker() else { return };
    let at_once = STARTS_AT_ONCE.to_string();
    let mut world = world(&dockerd, &[("start-concurrency", &at_once), ("slots", "12"), NEVER_DEAD]).await;
    let replicas = [world.replica(&[]), world.replica(&[])];
    for replica in replicas {
        world.begun(replica).await;
    }
    let began = Instant::now();
    for number in 0..GAMES {
        world.send(&format!("game-{number}"), GAME).await;
    }
    ends_well(&mut world).await;
    let took = began.elapsed();
    println!("{GAMES} games in {took:?}: {:.1} starts/s", 24.0 / took.as_secs_f64());

    let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
    assert_eq!(outcomes.len(), GAMES);
    for outcome in &outcomes {
        assert_eq!((outcome.outcome.as_str(), outcome.error_code.as_str()), ("success", ""), "{outcome:?}");
        assert_eq!(outcome.container_id, the_only_container(&dockerd, &outcome.game_id));
        assert_eq!(created_and_started(&dockerd, &outcome.game_id), (1, 1));
        assert_answers(&outcome.engine_endpoint, &outcome.game_id).await;
    }
    assert_eq!(dockerd.containers().len(), GAMES);
    for replica in replicas {
        world.logged(replica, "an outcome", |log| !log.processed().is_empty()).await;
    }
    let most = most_starts_at_once(&dockerd.events());
    println!("most starts at once, by replica: {most:?}");
    assert_eq!(most.len(), replicas.len(), "{most:?}");
    assert!(most.values().all(|most| *most <= STARTS_AT_ONCE), "{most:?}");
}

/// By replica, the most containers that were created and not yet started at one moment.
fn most_starts_at_once(events: &[Value]) -> BTreeMap<String, usize> {
    let mut under_way: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for event in events {
        let attribute = |name: &str| event["Actor"]["Attributes"][name].as_str().unwrap_or_default().to_owned();
        let of_owner = under_way.entry(attribute("rtm.owner")).or_default();
        match event["Action"].as_str() {
            Some("create") => drop(of_owner.insert(attribute("rtm.game_id"))),
            Some("start") => drop(of_owner.remove(&attribute("rtm.game_id"))),
            _ => {}
        }
        let most = most.entry(attribute("rtm.owner")).or_default();
        *most = (*most).max(of_owner.len());
    }
    most
}
