//! What a fleet on several hosts asks of a Docker engine: marks that stay, events, addresses and ranges of ports.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use startjobs::contract::error_code::ErrorCode;
use startjobs::engine::docker::{DockerEngine, DockerOptions};
use startjobs::engine::{ContainerState, Engine, EngineEvent, ListedState, Readiness};

use crate::docker_engine::{Bench, PORT, code, game_engine, spec, wait_until_ready};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The first of two ports in a row that are free on this address.
fn two_free_ports(address: &str) -> u16 {
    let is_free = |port: u16| std::net::TcpListener::bind((address, port)).is_ok();
    (20_000..30_000).step_by(2).find(|&port| is_free(port) && is_free(port + 1)).expect("two free ports")
}

#[tokio::test]
async fn the_first_mark_of_a_name_stays_whatever_the_others_say() {
    let Some(mut bench) = Bench::new() else { return };
    let ids: Vec<_> = (0..8).map(|id| labels(&[("rtm.host", &format!("host-{id}")), ("rtm.kind", "host")])).collect();
    let marked = join_all(ids.iter().map(|id| bench.engine.mark("rtm-host", id))).await;
    let first = marked[0].clone().expect("it was marked");
    assert!(ids.contains(&first), "{first:?}");
    assert!(marked.iter().all(|got| got.as_ref() == Ok(&first)), "{marked:?}");
    // It outlives the engine's process. A create of a name that existed then answers no labels, so the engine is asked.
    bench.dockerd.stop();
    bench.dockerd.restart();
    assert_eq!(bench.engine.marks("rtm.host").await, Ok(vec![first.clone()]));
    assert_eq!(bench.engine.mark("rtm-host", &ids[7]).await, Ok(first.clone()));

    let other = labels(&[("rtm.fleet", "f")]);
    assert_eq!(bench.engine.mark("rtm-fleet-f", &other).await, Ok(other.clone()));
    assert_eq!(bench.engine.mark("rtm-plain", &BTreeMap::new()).await, Ok(BTreeMap::new()));
    assert_eq!(bench.engine.marks("rtm.host").await, Ok(vec![first]));
    assert_eq!(bench.engine.marks("rtm.fleet").await, Ok(vec![other]));
    assert_eq!(bench.engine.marks("rtm.absent").await, Ok(Vec::new()));
    let nameless = bench.engine.mark("", &BTreeMap::new()).await;
    assert_eq!(code(&nameless), Some(ErrorCode::InternalError), "{nameless:?}");
}

#[tokio::test]
async fn events_tell_what_happens_to_containers_of_ours_until_the_connection_ends() {
    let Some(mut bench) = Bench::new() else { return };
    let mut events = bench.engine.events().await.expect("the engine has answered");
    let post = |path: &str| {
        let (status, answer) = bench.dockerd.request("POST", path, b"{}").expect("the engine answers");
        assert!(status < 300, "{path}: {status} {answer}");
    };
    // One that is not ours is not told of.
    let mut foreign = spec("rtm-foreign", &[]);
    foreign.image = "startjobs.test/plain:1".to_owned();
    foreign.labels.clear();
    let (_dir, program) = game_engine();
    bench.dockerd.import_image(&foreign.image, &program, &["engine"], &[]);
    bench.run(&foreign).await;
    let id = bench.run(&spec("rtm-a", &[])).await;
    post(&format!("/containers/{id}/pause"));
    post(&format!("/containers/{id}/unpause"));
    post(&format!("/containers/{id}/rename?name=rtm-b"));
    bench.engine.remove(&id).await.expect("it is removed");
    let told =
        |name: &str| EngineEvent { game_id: "a".to_owned(), container_id: id.clone(), container_name: name.to_owned() };
    // start, pause, unpause, rename; die, destroy.
    for name in ["rtm-a", "rtm-a", "rtm-a", "rtm-b", "rtm-b", "rtm-b"] {
        let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.expect("an event");
        assert_eq!(event, Some(Ok(told(name))));
    }
    bench.dockerd.stop();
    let end = events.next().await.expect("an item");
    assert_eq!(code(&end), Some(ErrorCode::EngineUnavailable), "{end:?}");
    assert_eq!(events.next().await, None);
    assert_eq!(code(&bench.engine.events().await.map(drop)), Some(ErrorCode::EngineUnavailable));
}

#[tokio::test]
async fn a_list_shows_what_an_inspect_shows() {
    let Some(bench) = Bench::new() else { return };
    let running = bench.run(&spec("rtm-a", &[])).await;
    let exited = bench.run(&spec("rtm-b", &["ENGINE_EXIT_CODE=7"])).await;
    let created = bench.engine.create(&spec("rtm-c", &[])).await.expect("the name is free");
    let paused = bench.run(&spec("rtm-d", &[])).await;
    bench.dockerd.request("POST", &format!("/containers/{paused}/pause"), b"").expect("it can be paused");
    let ended = bench.wait_for(&exited, |container| matches!(container.state, ContainerState::Exited(_))).await;
    let now_ms = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    let ended_at_ms = u128::from(ended.ended_at_ms.expect("it has ended"));
    assert!((now_ms - 20_000..=now_ms).contains(&ended_at_ms), "{ended_at_ms} is not just before {now_ms}");

    let page = bench.engine.list("").await.expect("the engine answers");
    for (id, state) in [
        (&running, ListedState::Running),
        (&exited, ListedState::Ended),
        (&created, ListedState::Other),
        (&paused, ListedState::Paused),
    ] {
        let listed = page.containers.iter().find(|listed| listed.id == *id).expect("it is listed");
        let seen = bench.find(id).await.expect("it exists");
        assert_eq!((listed.state, &listed.endpoint), (state, &seen.endpoint));
        assert_eq!(seen.endpoint.is_some(), [ListedState::Running, ListedState::Paused].contains(&state), "{seen:?}");
        assert_eq!(seen.ended_at_ms.is_some(), state == ListedState::Ended, "{seen:?}");
    }
}

#[tokio::test]
async fn ports_are_published_where_the_options_say_and_announced_under_another_name() {
    let Some(bench) = Bench::new() else { return };
    let first = two_free_ports(bench.dockerd.address());
    let engine = DockerEngine::connect_with(DockerOptions {
        advertise_host: Some("games.invalid".to_owned()),
        port_range: Some((first, first + 1)),
        ..bench.dockerd.options(PORT, 4)
    });
    let engine = engine.expect("good options");
    let mut endpoints = Vec::new();
    for name in ["rtm-a", "rtm-b"] {
        let id = engine.create(&spec(name, &[])).await.expect("the name is free");
        engine.start(&id).await.expect("a port is free");
        let running = engine.find(&id).await.expect("the engine answers").expect("it runs");
        // The name leads nowhere; the engine itself is reached all the same.
        wait_until_ready(&engine, &running, &Readiness::Http("/healthz".into())).await;
        wait_until_ready(&engine, &running, &Readiness::Tcp).await;
        endpoints.extend(running.endpoint);
        let (_, seen) = bench.dockerd.request("GET", &format!("/containers/{id}/json"), b"").expect("it answers");
        assert!(seen.contains(&format!(r#""HostIp":"{}""#, bench.dockerd.address())), "{seen}");
    }
    endpoints.sort();
    assert_eq!(endpoints, [first, first + 1].map(|port| format!("http://games.invalid:{port}")));
    let listed = engine.list("").await.expect("the engine answers").containers;
    let mut listed: Vec<_> = listed.into_iter().filter_map(|listed| listed.endpoint).collect();
    listed.sort();
    assert_eq!(listed, endpoints);

    // The range is used up.
    let id = engine.create(&spec("rtm-c", &[])).await.expect("the name is free");
    let refused = engine.start(&id).await;
    assert_eq!(code(&refused), Some(ErrorCode::HostPortUnavailable), "{refused:?}");
}
