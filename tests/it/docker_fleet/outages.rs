//! The engine goes away and comes back: jobs wait, nothing is lost, and no budget is spent on it.

use std::time::Duration;

use super::{
    Dockerd, GAME, World, answered, assert_answers, containers_of, docker, ends_well, the_only_container, world,
};

/// A counted failure is tried again after 0.4 s at most, so five of them would show within this.
const DOWN_FOR: Duration = Duration::from_secs(3);

/// Nothing was given up so far.
async fn no_budget_is_spent(world: &mut World) {
    let dead = world.lobby.all_dead().await.expect("dead letters");
    assert!(dead.is_empty(), "{dead:?}\n{}", world.logs());
}

#[tokio::test]
async fn workers_that_start_while_the_engine_is_down_serve_when_it_comes() {
    let Some(mut dockerd) = docker() else { return };
    let mut world = world(&dockerd, &[]).await;
    dockerd.stop();
    let replicas = [world.replica(&[]), world.replica(&[])];
    for number in 0..4 {
        world.send(&format!("game-{number}"), GAME).await;
    }
    for replica in replicas {
        world.logged(replica, "that the engine is away", |log| log.conditions().contains_key("engine")).await;
    }
    tokio::time::sleep(DOWN_FOR).await;
    assert!(world.account().await.outcomes.is_empty());
    no_budget_is_spent(&mut world).await;

    dockerd.restart();
    ends_well(&mut world).await;
    for outcome in world.lobby.all_outcomes().await.expect("outcomes") {
        assert_eq!((outcome.outcome.as_str(), outcome.error_code.as_str()), ("success", ""), "{outcome:?}");
        assert_eq!(outcome.container_id, the_only_container(&dockerd, &outcome.game_id));
        assert_answers(&outcome.engine_endpoint, &outcome.game_id).await;
    }
    for replica in replicas {
        world.logged(replica, "that the engine is back", |log| log.conditions().get("engine") == Some(&(1, 1))).await;
        assert_eq!(world.log(replica).conditions().len(), 1, "{}", world.logs());
    }
}

#[tokio::test]
async fn an_engine_that_restarts_under_load_loses_nothing() {
    goes_away_under_load(Dockerd::stop).await;
}

#[tokio::test]
async fn an_engine_that_is_killed_under_load_loses_nothing() {
    goes_away_under_load(Dockerd::kill).await;
}

async fn goes_away_under_load(end: fn(&mut Dockerd)) {
    let Some(mut dockerd) = docker() else { return };
    let mut world = world(&dockerd, &[]).await;
    let replicas = [world.replica(&[]), world.replica(&[])];
    for replica in replicas {
        world.begun(replica).await;
    }
    for number in 0..16 {
        world.send(&format!("game-{number}"), GAME).await;
    }
    world
        .eventually("the first outcomes", async |world: &World| {
            let answers = world.lobby.answers().await.expect("Redis answers");
            answers.0 >= 4
        })
        .await;
    end(&mut dockerd);
    let when_it_went = world.lobby.answers().await.expect("Redis answers");
    tokio::time::sleep(DOWN_FOR).await;
    let after = world.lobby.answers().await.expect("Redis answers");
    println!("answered before {}, while it was down {}", when_it_went.0, after.0 - when_it_went.0);
    no_budget_is_spent(&mut world).await;

    dockerd.restart();
    ends_well(&mut world).await;
    no_budget_is_spent(&mut world).await;
    let mut failures = Vec::new();
    for outcome in world.lobby.all_outcomes().await.expect("outcomes") {
        let containers = containers_of(&dockerd, &outcome.game_id);
        if outcome.outcome == "success" {
            // Those that ran when the engine went have ended with it, and are still the games' containers.
            let [only] = containers.as_slice() else { panic!("{outcome:?}: {containers:?}\n{}", world.logs()) };
            assert_eq!(only["Id"], outcome.container_id.as_str(), "{outcome:?}");
        } else {
            assert!(containers.is_empty(), "{outcome:?}: {containers:?}");
            failures.push(outcome);
        }
    }
    // An engine on its way down may refuse a start in words that sound like an answer.
    println!("failures: {failures:?}");
    for replica in replicas {
        world.logged(replica, "that the engine is back", |log| log.conditions().get("engine") == Some(&(1, 1))).await;
    }

    // A game whose container ended with the engine can be started again.
    let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
    let ended = &outcomes[0];
    let state = containers_of(&dockerd, &ended.game_id)[0]["State"].clone();
    assert_eq!(state, "exited", "{ended:?}");
    let job = world.send(&ended.game_id, GAME).await;
    let outcome = answered(&mut world, job).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("success", ""), "{outcome:?}");
    assert_eq!(outcome.get("container_id"), the_only_container(&dockerd, &ended.game_id));
    assert_answers(outcome.get("engine_endpoint"), &ended.game_id).await;
}
