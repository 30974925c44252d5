//! One process that drives several engines, each a host of its own.

use std::collections::BTreeSet;

use super::{Dockerd, GAME, World, answered, assert_answers, containers_of, docker, the_only_container, world};

const GAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

async fn host_of(world: &World, game: &str) -> String {
    let text = world.redis(&["GET", &format!("rtm:{{{game}}}:rec")]).await.as_string().expect("a record");
    let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    record["host"].as_str().expect("a host").to_owned()
}

/// The engine that runs the game, which no other does.
fn engine_of<'a>(engines: [&'a Dockerd; 2], game: &str) -> &'a Dockerd {
    let runs = engines.map(|engine| !containers_of(engine, game).is_empty());
    match runs {
        [true, false] => engines[0],
        [false, true] => engines[1],
        _ => panic!("{game} is on {runs:?}"),
    }
}

#[tokio::test]
async fn games_are_spread_over_the_engines_and_jobs_find_theirs() {
    let (Some(first), Some(mut second)) = (docker(), docker()) else { return };
    let engines = second.host();
    let mut world = world(&first, &[("engines", engines.as_str()), ("host-heartbeat", "3s")]).await;
    let replica = world.replica(&[]);
    for game in GAMES {
        let job = world.send(game, GAME).await;
        let outcome = answered(&mut world, job).await;
        assert_eq!(outcome.get("error_code"), "", "{outcome:?}");
        assert_answers(outcome.get("engine_endpoint"), game).await;
    }
    let mut hosts = BTreeSet::new();
    for game in GAMES {
        engine_of([&first, &second], game);
        hosts.insert(host_of(&world, game).await);
    }
    assert_eq!(hosts.len(), 2, "{hosts:?}");
    for game in GAMES {
        let job = world.send(game, GAME).await;
        let outcome = answered(&mut world, job).await;
        let engine = engine_of([&first, &second], game);
        let expected = ("replay_no_op", the_only_container(engine, game));
        assert_eq!((outcome.get("error_code"), outcome.get("container_id").to_owned()), expected);
    }
    // One engine goes: new games are started on the other at once, and its own when its host is dead.
    second.kill();
    let on_first = host_of_first(&world, &first).await;
    for game in ["g", "h"] {
        let job = world.send(game, GAME).await;
        assert_eq!(answered(&mut world, job).await.get("outcome"), "success", "{}", world.logs());
        the_only_container(&first, game);
    }
    for game in GAMES {
        let job = world.send(game, GAME).await;
        let outcome = answered(&mut world, job).await;
        assert_eq!(outcome.get("outcome"), "success", "{outcome:?}\n{}", world.logs());
        assert_answers(outcome.get("engine_endpoint"), game).await;
        assert_eq!(host_of(&world, game).await, on_first);
    }
    assert!(world.log(replica).conditions().is_empty(), "{}", world.logs());
    // It comes back: what was started anew meanwhile is removed there.
    second.restart();
    world
        .eventually("nothing is left of them", async |_: &World| {
            GAMES.iter().all(|game| containers_of(&second, game).is_empty())
        })
        .await;
    for game in GAMES {
        the_only_container(&first, game);
    }
    world.settled().await;
}

/// The name of the host whose engine runs some game.
async fn host_of_first(world: &World, first: &Dockerd) -> String {
    let game = GAMES.into_iter().find(|game| !containers_of(first, game).is_empty()).expect("it has games");
    host_of(world, game).await
}
