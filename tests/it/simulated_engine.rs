//! The simulated engine on a real redis-server: it follows Docker where it matters, and its log tells all it did.

use std::sync::Arc;

use futures_util::future::join_all;
use startjobs::contract::error_code::ErrorCode;
use startjobs::engine::simulated::SimulatedEngine;
use startjobs::engine::{ContainerSpec, ContainerState, Engine, EngineError, ListedState, Sandbox, label};
use startjobs::redis::{Connection, Role};

use crate::support::world::World;

/// A process's own engine on the world's server.
async fn engine(world: &World) -> SimulatedEngine {
    named(world, None).await
}

async fn named(world: &World, name: Option<&str>) -> SimulatedEngine {
    let opened = Connection::open(&world.settings.redis, Role::Commands, "startjobs:test", |_| {}).await;
    let connection = Arc::new(opened.expect("a connection"));
    SimulatedEngine::new(connection, "rtm:", world.settings.engine.simulated.clone(), 64, name.map(str::to_owned))
}

fn spec(name: &str, game: &str, image: &str) -> ContainerSpec {
    let labels = [
        (label::GAME_ID, game),
        (label::IMAGE_REF, image),
        (label::SOURCE_REF, "1-0"),
        (label::FENCE, "7"),
        (label::OWNER, "replica a, \"the first\""),
        (label::HOST, "default"),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let sandbox = Sandbox::default();
    ContainerSpec { name: name.to_owned(), image: image.to_owned(), port: 8080, env: Vec::new(), labels, sandbox }
}

/// Every event of the log with its container.
async fn logged(world: &World) -> Vec<(String, String)> {
    world.entries("rtm:sim:log").await.into_iter().flat_map(|entry| entry.pairs).collect()
}

#[tokio::test]
async fn a_name_is_unique_creating_and_starting_are_two_steps_and_the_log_shows_both() {
    let world = World::with(&[("simulated-latency", "0ms")]).await;
    let (ours, theirs) = (engine(&world).await, engine(&world).await);
    let spec = spec("rtm-g", "g", "galaxy/engine:1");
    assert_eq!(ours.find("rtm-g").await, Ok(None));
    let id = ours.create(&spec).await.expect("created");
    assert_eq!(theirs.create(&spec).await, Err(EngineError::NameTaken));

    // By name and by id, and by no other id of the same name.
    let found = theirs.find("rtm-g").await.expect("an answer").expect("it is there");
    assert_eq!((&found.id, &found.state, &found.labels), (&id, &ContainerState::Created, &spec.labels));
    assert_eq!(theirs.find(&id).await, Ok(Some(found)));
    let never_made = "simulated.rtm-g.000000000000";
    assert_eq!(theirs.find(never_made).await, Ok(None));
    assert_eq!(theirs.start(never_made).await, Err(EngineError::NoSuchContainer));
    assert_eq!(theirs.remove(never_made).await, Ok(()));

    // Whoever starts it; one that runs already is a success and no event.
    let started = theirs.start(&id).await.expect("an answer").expect("shown with the start");
    assert_eq!((&started.state, &started.labels), (&ContainerState::Running, &spec.labels));
    assert_eq!(started.endpoint.as_deref(), Some("http://rtm-g.sim.invalid:8080"));
    assert_eq!(theirs.find("rtm-g").await, Ok(Some(started)));
    assert_eq!(theirs.start(&id).await.map(|container| container.is_some()), Ok(true));
    let listed = ours.list("").await.expect("a page").containers;
    assert_eq!(listed.iter().map(|one| (&one.id, one.name.as_str())).collect::<Vec<_>>(), [(&id, "rtm-g")]);

    // Gone is gone, and the name is free for another id.
    assert_eq!((ours.remove(&id).await, ours.remove(&id).await), (Ok(()), Ok(())));
    assert_eq!((ours.find("rtm-g").await, ours.list("").await.expect("a page").containers), (Ok(None), vec![]));
    let next = ours.create(&spec).await.expect("created");
    assert_ne!(next, id);
    // Another client removed it between the two steps of ours.
    theirs.remove(&next).await.expect("removed");
    assert_eq!(ours.start(&next).await, Err(EngineError::NoSuchContainer));

    let events = [("create", &id), ("start", &id), ("remove", &id), ("create", &next), ("remove", &next)];
    assert_eq!(logged(&world).await, events.map(|(event, id)| (event.to_owned(), format!("{id} g"))));
}

#[tokio::test]
async fn one_that_exits_at_once_says_so() {
    let world = World::with(&[("simulated-latency", "0ms")]).await;
    let engine = engine(&world).await;
    let id = engine.create(&spec("rtm-g", "g", "docker.io/sim/exit:latest")).await.expect("created");
    let started = engine.start(&id).await.expect("an answer").expect("shown with the start");
    assert_eq!(started.state, ContainerState::Exited(1));
    assert_eq!(engine.find(&id).await, Ok(Some(started)));
    let events: Vec<String> = logged(&world).await.into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, ["create", "exit"]);
}

/// Creates containers of fresh names at once, each name twice; the specs, the id of the first name, and how many entries of
/// the log say that they were made.
async fn created_at_once(world: &World, engine: &SimulatedEngine, round: usize) -> (Vec<ContainerSpec>, String, usize) {
    // An engine that is asked wrongly has two of one game: its names are unique, not its games.
    let games = ["a", "b", "a", "c"];
    let specs: Vec<ContainerSpec> = (0..)
        .zip(games)
        .map(|(number, game)| spec(&format!("rtm-{round}-{number}"), game, "galaxy/engine:1"))
        .collect();
    let before = world.entries("rtm:sim:log").await.len();
    let twice: Vec<&ContainerSpec> = specs.iter().chain(&specs).collect();
    let created = join_all(twice.iter().map(|spec| engine.create(spec))).await;
    // Which of the two of a name was the first is the engine's affair.
    let made: Vec<(&String, &ContainerSpec)> =
        created.iter().zip(twice).filter_map(|(one, spec)| Some((one.as_ref().ok()?, spec))).collect();
    let refused = created.iter().filter(|one| **one == Err(EngineError::NameTaken)).count();
    assert_eq!((made.len(), refused), (4, 4), "{created:?}");
    let entries = world.entries("rtm:sim:log").await.split_off(before);
    let mut expected: Vec<String> =
        made.iter().map(|(id, spec)| format!("{id} {}", spec.labels[label::GAME_ID])).collect();
    let mut said: Vec<String> =
        entries.iter().flat_map(|entry| &entry.pairs).map(|(_, container)| container.clone()).collect();
    expected.sort();
    said.sort();
    assert_eq!(said, expected, "{entries:?}");
    let (first, _) = made.iter().find(|(_, spec)| spec.name == specs[0].name).expect("each name was taken once");
    let first = (*first).clone();
    (specs, first, entries.len())
}

#[tokio::test]
async fn calls_that_are_made_at_once_are_one_entry_of_the_log_and_decide_one_after_the_other() {
    const ROUNDS: usize = 20;
    let world = World::with(&[("simulated-latency", "0ms")]).await;
    let engine = engine(&world).await;
    // Each asks first whether the disk is full, unless that was asked a moment before. A busy machine may read the answers one
    // by one, and then the calls are not made at once.
    let mut entries = Vec::new();
    let (specs, first) = loop {
        let (specs, first, count) = created_at_once(&world, &engine, entries.len()).await;
        entries.push(count);
        if count == 1 {
            break (specs, first);
        }
        assert!(entries.len() < ROUNDS, "calls that were made at once were never one entry: {entries:?}");
    };
    // Removed and made anew in one step: the name is taken by the second only.
    let again = futures_util::join!(engine.remove(&first), engine.create(&specs[0]), engine.remove(&first));
    let next = again.1.expect("the name was free");
    assert_eq!(engine.find(&specs[0].name).await.map(|found| found.map(|container| container.id)), Ok(Some(next)));
}

#[tokio::test]
async fn what_is_no_container_fails_its_own_call_and_is_left_as_it_is() {
    let world = World::with(&[("simulated-latency", "0ms")]).await;
    let engine = engine(&world).await;
    world.redis(&["RPUSH", "rtm:sim:{rtm-list}", "x"]).await;
    world.redis(&["SET", "rtm:sim:{rtm-text}", "x"]).await;
    let [list, text, fine] = ["list", "text", "fine"].map(|game| spec(&format!("rtm-{game}"), game, "galaxy/engine:1"));
    let of_list = futures_util::join!(engine.create(&list), engine.create(&fine), engine.find("rtm-list"));
    let code = |error| match error {
        EngineError::Failed { code, message } => (code, message),
        other => panic!("{other}"),
    };
    let (store, message) = code(of_list.0.expect_err("the key is taken"));
    assert_eq!(store, ErrorCode::StateStoreUnavailable);
    assert!(message.contains("rtm:sim:{rtm-list} holds a list where a string is expected"), "{message}");
    assert_eq!(code(of_list.2.expect_err("the key holds a list")).0, ErrorCode::StateStoreUnavailable);
    assert!(of_list.1.is_ok(), "{:?}", of_list.1);
    assert_eq!(engine.create(&text).await, Err(EngineError::NameTaken));
    assert_eq!(code(engine.find("rtm-text").await.expect_err("no container")).0, ErrorCode::InternalError);
    assert_eq!(world.redis(&["LRANGE", "rtm:sim:{rtm-list}", "0", "-1"]).await.convert(), Ok(vec!["x".to_owned()]));
    assert_eq!(world.redis(&["GET", "rtm:sim:{rtm-text}"]).await.as_string().as_deref(), Some("x"));
}

#[tokio::test]
async fn engines_of_different_names_share_no_containers_and_no_marks() {
    let world = World::with(&[("simulated-latency", "0ms")]).await;
    let plain = engine(&world).await;
    let (one, two, one_again) =
        (named(&world, Some("h[1]*")).await, named(&world, Some("h1")).await, named(&world, Some("h[1]*")).await);
    let mut spec = spec("rtm-g", "g", "galaxy/engine:1");
    let labels = spec.labels.clone();
    // It is not kept: the version before could not read it.
    spec.labels.insert(label::FLEET.to_owned(), "fleet".to_owned());
    let mut ids = Vec::new();
    for engine in [&plain, &one, &two] {
        let id = engine.create(&spec).await.expect("the name is free there");
        let started = engine.start(&id).await.expect("an answer").expect("shown with the start");
        assert_eq!((started.labels, started.ended_at_ms), (labels.clone(), None));
        ids.push(id);
    }
    assert_eq!(one_again.create(&spec).await, Err(EngineError::NameTaken));
    for (engine, id) in [(&plain, &ids[0]), (&one, &ids[1]), (&two, &ids[2]), (&one_again, &ids[1])] {
        let page = engine.list("").await.expect("an answer");
        let listed: Vec<_> = page.containers.iter().map(|listed| (&listed.id, listed.state)).collect();
        assert_eq!(listed, [(id, ListedState::Running)]);
        assert_eq!(page.containers[0].endpoint.as_deref(), Some("http://rtm-g.sim.invalid:8080"));
    }

    let labels = |host: &str| [(label::HOST.to_owned(), host.to_owned())].into();
    assert_eq!(one.mark("rtm-host", &labels("a")).await, Ok(labels("a")));
    assert_eq!(one_again.mark("rtm-host", &labels("b")).await, Ok(labels("a")));
    assert_eq!(two.mark("rtm-host", &labels("b")).await, Ok(labels("b")));
    assert_eq!(one_again.marks(label::HOST).await, Ok(vec![labels("a")]));
    assert_eq!(one.marks(label::FLEET).await, Ok(Vec::new()));
    assert_eq!(plain.marks(label::HOST).await, Ok(Vec::new()));
}
