//! Several replicas beside one engine pull an image once; each host pulls for itself.

use std::time::Duration;

use rustix::process::Signal;
use startjobs::engine::docker::DockerEngine;
use startjobs::engine::{Engine, PullStep};

use super::{Games, Stage, name_of};
use crate::declared_keys::Watch;
use crate::support::registry::{Fault, Image};
use crate::tidy::document;

#[tokio::test]
async fn the_replicas_of_a_host_pull_an_image_once_and_each_host_pulls_for_itself() {
    let Some(mut stage) = Stage::new(2).await else { return };
    let games = Games::new();
    stage.registry.put("team/game", "1", games.image("one"));
    stage.registry.fault("team/game", Fault::HangInLayer);
    for (seed, name) in [(1, "team/one"), (2, "team/both")] {
        stage.registry.put(name, "1", Image::of_layers(seed, 1, 1_000));
    }
    let watch = Watch::begin(stage.world.redis.port());
    for host in [0, 0, 1] {
        stage.replica(host, &[]).await;
    }
    stage.hosts_alive(2).await;

    // What one pull asks.
    let engine = DockerEngine::connect(&stage.dockerds[0].host(), 8080, 1).expect("a good URL");
    engine.pull(&stage.registry.image("team/one"), &|_: PullStep| ()).await.expect("it is there");
    let requests_of_a_pull = stage.registry.manifests("team/one").len();

    // An operator brings an image to both hosts.
    let both = stage.json(&["runtime", "pull", &stage.registry.image("team/both"), "--by", "ann"]).await;
    let states: Vec<_> = both["hosts"].as_array().expect("a list").iter().map(|host| &host["state"]).collect();
    assert_eq!(states, ["done", "done"], "{both}\n{}", stage.world.logs());
    assert_eq!(
        (&both["hosts"][0]["host"], &both["hosts"][0]["wished_by"]),
        (&"host-0".into(), &"ann".into()),
        "{both}"
    );
    assert_eq!(stage.registry.manifests("team/both").len(), 2 * requests_of_a_pull);
    let host = &both["hosts"][0];
    assert_eq!(
        (&host["layers"], &host["layers_done"], &host["bytes"]),
        (&1.into(), &1.into(), &host["total"]),
        "{both}"
    );
    let again = stage.run(&["runtime", "pull", &stage.registry.image("team/both"), "--host", "host-0"]).await.1;
    assert!(again.contains("nothing to download"), "{again}");
    for engine in &stage.dockerds {
        let image = stage.registry.image("team/both");
        let (status, _) = engine.request("GET", &format!("/images/{image}/json"), b"").expect("an answer");
        assert_eq!(status, 200);
    }
    let missing = stage.json(&["runtime", "pull", &stage.registry.image("s404/x")]).await;
    assert_eq!(missing["hosts"][1]["error_code"], "image_not_found", "{missing}");
    let (code, _, errors) = stage.run(&["runtime", "pull", "h/x:1", "--host", "no\u{1b}where"]).await;
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains(r"there is no host no\u{1b}where"), "{errors}");

    // Jobs of all three replicas wait for the same image.
    let image = stage.registry.image("team/game");
    let mut sent = 0;
    while !all_wait(&stage).await {
        assert!(sent < 100, "{}", stage.world.logs());
        stage.world.send(&format!("game-{sent}"), &image).await;
        sent += 1;
        stage.world.held(sent).await;
    }
    let line = stage.pulling(0, &image).await;
    stage.pulling(1, &image).await;
    let story = stage.json(&["inspect", "game-0"]).await;
    assert_eq!(
        (&story["pull"]["state"], &story["pull"]["image_ref"]),
        (&"pulling".into(), &image.as_str().into()),
        "{story}"
    );
    assert!(story["pull"]["total"].as_u64() > Some(0), "{story}");
    let text = stage.run(&["inspect", "game-0"]).await.1;
    assert!(text.contains("image: pulled by ") && text.contains(" of 1 layers"), "{text}");
    assert!(stage.world.presences().await.contains_key(line["owner"].as_str().expect("a name")), "{line}");

    stage.registry.mend("team/game");
    stage.answered().await;
    assert_eq!(stage.registry.manifests("team/game").len(), 2 * requests_of_a_pull);
    for host in [0, 1] {
        assert_eq!(stage.board(host, &image).await["state"], "done");
    }
    let seen = watch.end(stage.world.lobby.connection()).await;
    assert_eq!(seen.undeclared, [].into());
    let board = format!("rtm:pulls:{}", name_of(0));
    assert!(seen.touched.contains(&board), "{:?}", seen.touched);
    for words in seen.commands.iter().filter(|words| words.get(1) == Some(&board)) {
        let right = format!(" +{}", words[0].to_lowercase());
        for user in ["startjobs", "operator"] {
            assert!(rights_of(user).contains(&right), "{user} has no right{right}");
        }
    }
}

/// What deploy/redis/users.acl.in allows a user, each right behind a space.
fn rights_of(user: &str) -> String {
    let template = document("deploy/redis/users.acl.in");
    let (_, rights) = template.split_once(&format!("\nuser {user} ")).expect("a line of the user");
    let lines = rights.lines().scan(true, |goes_on, line| {
        let is_of_user = *goes_on;
        *goes_on = line.ends_with('\\');
        is_of_user.then(|| line.trim_end_matches('\\').to_owned())
    });
    lines.collect::<String>()
}

/// Whether each of three replicas holds a job.
async fn all_wait(stage: &Stage) -> bool {
    let (jobs, group) = (&stage.world.settings.stream.jobs, &stage.world.settings.stream.group);
    let busy: Vec<Vec<startjobs::redis::Value>> =
        match stage.world.try_redis(&["XPENDING", jobs, group]).await.and_then(startjobs::redis::Value::into_list) {
            Ok(summary) => summary
                .into_iter()
                .nth(3)
                .and_then(|consumers| consumers.into_list().ok())
                .map(|consumers| consumers.into_iter().filter_map(|consumer| consumer.into_list().ok()).collect())
                .unwrap_or_default(),
            Err(_) => Vec::new(),
        };
    busy.len() == 3
}

#[tokio::test]
async fn a_replica_that_dies_while_it_pulls_is_followed_by_another() {
    let Some(mut stage) = Stage::new(1).await else { return };
    let games = Games::new();
    stage.registry.put("team/game", "1", games.image("one"));
    stage.registry.fault("team/game", Fault::HangInLayer);
    let replicas = [stage.replica(0, &[]).await, stage.replica(0, &[]).await];
    let image = stage.registry.image("team/game");
    let jobs = [stage.world.send("a", &image).await, stage.world.send("b", &image).await];
    stage.world.held(2).await;
    let line = stage.pulling(0, &image).await;
    let owner = line["owner"].as_str().expect("a name").to_owned();
    let presence = stage.world.presences().await[&owner].clone();
    let puller = replicas
        .into_iter()
        .find(|&replica| {
            let pid = stage.world.fleet.replica(replica).process().id();
            presence.contains(&format!("\"pid\":{pid},")) || presence.contains(&format!("\"pid\":{pid}}}"))
        })
        .expect("one of the two pulls");
    stage.world.signal(puller, Signal::KILL);
    stage.world.killed(puller).await;
    stage.registry.mend("team/game");
    stage.answered().await;
    for job in jobs {
        let outcome = stage.world.outcome(job).await;
        assert_eq!(outcome.get("outcome"), "success", "{outcome:?}\n{}", stage.world.logs());
    }
    let line = stage.board(0, &image).await;
    assert_eq!(line["state"], "done", "{line}");
    assert_ne!(line["owner"], owner.as_str(), "{line}");
    let took =
        Duration::from_millis(line["renewed"].as_u64().expect("a time") - line["since"].as_u64().expect("a time"));
    assert!(took < Duration::from_secs(10), "{line}");
}
