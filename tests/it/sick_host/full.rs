//! Hosts that have as many games as their policy allows: their jobs wait, and one starts as soon as a game has ended.

use std::time::{Duration, Instant};

use startjobs::stream::entry_id::EntryId;

use crate::support::dev::startjobs;
use crate::support::scrape;
use crate::support::world::{FAST, World};

const MOST: usize = 3;

/// Where the games are, as their records say it.
async fn hosts_of(world: &World, games: &[String]) -> Vec<(String, String)> {
    let mut placed = Vec::new();
    for game in games {
        let record = world.redis(&["GET", &format!("rtm:{{{game}}}:rec")]).await.as_string().unwrap_or_default();
        let Ok(record) = serde_json::from_str::<serde_json::Value>(&record) else { continue };
        if record["state"] == "running" {
            placed.push((game.clone(), record["host"].as_str().expect("text").to_owned()));
        }
    }
    placed
}

#[tokio::test]
async fn full_hosts_share_what_fits_and_the_rest_waits_without_failing() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, format!("containers-max = {MOST}\n")).expect("the folder is ours");
    let policy = policy.to_str().expect("text");
    let mut world =
        World::with(&[("slots", "8"), ("policy-file", policy), ("reconcile-interval", "200ms"), ("retry-min", "50ms")])
            .await;
    let ports = [scrape::free_port(), scrape::free_port()];
    for (host, port) in ["a", "b"].into_iter().zip(ports) {
        let address = format!("127.0.0.1:{port}");
        let replica = world.replica(&[("engine-host-id", host), ("http-addr", &address)]);
        world.begun(replica).await;
    }
    let games: Vec<String> = (0..4 * MOST).map(|number| format!("game{number}")).collect();
    let mut jobs: Vec<EntryId> = Vec::new();
    for game in &games {
        jobs.push(world.send(game, "galaxy/engine:1").await);
    }
    let full = |port| scrape::metric(port, "startjobs_condition{condition=\"host_full\"}") > 0.5;
    world.eventually("both hosts are full", async |_: &World| full(ports[0]) && full(ports[1])).await;
    let placed = async |world: &World| hosts_of(world, &games).await;
    world.eventually("they run", async |world: &World| placed(world).await.len() == 2 * MOST).await;
    let placed = placed(&world).await;
    for host in ["a", "b"] {
        assert_eq!(placed.iter().filter(|(_, its)| its == host).count(), MOST, "{placed:?}\n{}", world.logs());
    }
    for port in ports {
        let (status, text) = scrape::get(port, "/readyz").expect("an answer");
        assert!(status == 503 && text.contains("the host is full") && text.contains("containers-max"), "{text}");
        assert!(scrape::metric(port, "startjobs_condition{condition=\"engine\"}") < 0.5, "it is full, and not broken");
    }
    world
        .eventually("those are answered, and the others wait", async |world: &World| {
            world.lobby.answers().await.expect("counts").0 == 6
        })
        .await;

    let status: serde_json::Value = serde_json::from_str(&told(&world, &["status", "--json"])).expect("JSON");
    let count = |name: &str| status[name].as_u64().expect("a number");
    let open = status["in_flight"]["count"].as_u64().expect("a number");
    let backing_off = status["backing_off"]["count"].as_u64().expect("a number");
    assert_eq!(open, count("starting") + count("given_back") + backing_off, "{status}");
    assert_eq!(count("waiting_for_room"), count("given_back"), "{status}");

    // A game ends, and one that waits starts in its place.
    let (ended, host) = placed[0].clone();
    world.redis(&["DEL", &format!("rtm:sim@{host}:{{rtm-{ended}}}")]).await;
    world
        .eventually("another game has started there", async |world: &World| {
            let placed = hosts_of(world, &games).await;
            placed.len() == 2 * MOST && placed.iter().all(|(game, _)| *game != ended)
        })
        .await;
    assert_eq!(world.account().await.outcomes.keys().collect::<Vec<_>>(), ["started"]);
}

/// What a command prints with the fleet's settings.
fn told(world: &World, arguments: &[&str]) -> String {
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    let mut command = startjobs();
    command.env("STARTJOBS_REDIS_URL", world.redis.url());
    let output = command.args(arguments).envs(FAST.iter().map(|&(name, value)| (variable(name), value))).output();
    let output = output.expect("the binary under test runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// One job on one full host is enough to tell, and costs nothing: with a budget of one failure it waits, and starts when a game
/// has ended. What runs there already is answered all the while. A host that has nothing to do notices by itself that there is
/// room again.
#[tokio::test]
async fn one_job_waits_on_a_full_host_for_as_long_as_it_is_full() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "containers-max = 2\n").expect("the folder is ours");
    let policy = policy.to_str().expect("text");
    let settings =
        [("policy-file", policy), ("reconcile-interval", "200ms"), ("retry-attempts", "1"), ("retry-min", "50ms")];
    let mut world = World::with(&settings).await;
    let ports = [scrape::free_port(), scrape::free_port()];
    let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
    let a = world.replica(&[("engine-host-id", "a"), ("http-addr", &addresses[0])]);
    world.begun(a).await;
    world.send("one", "galaxy/engine:1").await;
    world.send("two", "galaxy/engine:1").await;
    world.settled().await;

    let began = Instant::now();
    let third = world.send("three", "galaxy/engine:1").await;
    let metric = |name: &str| scrape::metric(ports[0], name);
    let is_full = || metric("startjobs_condition{condition=\"host_full\"}") > 0.5;
    let tried = || metric("startjobs_retries_total{counted=\"no\"}");
    world.eventually("one job shows that the host is full", async |_: &World| is_full()).await;
    world.eventually("it is tried again and again", async |_: &World| tried() >= 4.0).await;
    assert!(began.elapsed() >= Duration::from_millis(1_500), "faster than one a second");
    world.send("one", "galaxy/engine:1").await;
    world
        .eventually("what runs there is answered", async |world: &World| {
            world.account().await.outcomes.get("replay_no_op") == Some(&1)
        })
        .await;
    for (arguments, words) in [
        (vec!["runtime", "hosts"], "2 of 2"),
        (vec!["status"], "every host is full: a (2 of 2 games)"),
        (vec!["inspect", &third.to_string()], "waits for room: every host is full: a (2 of 2 games)"),
        (vec!["inspect", &third.to_string()], "\n  next: startjobs runtime hosts\n"),
        (
            vec!["retry-now", &third.to_string()],
            "not started: it waits for room: every host is full: a (2 of 2 games); a retry",
        ),
        (vec!["alerts"], "HostFull"),
    ] {
        let text = told(&world, &arguments);
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
    // A replica tries it from time to time.
    world
        .eventually("the count says so", async |world: &World| {
            told(world, &["status"]).contains("\nin flight     0, 1 waits for room; the oldest was appended ")
        })
        .await;
    let end_game = async |world: &World, game: &str| world.redis(&["DEL", &format!("rtm:sim@a:{{rtm-{game}}}")]).await;
    end_game(&world, "one").await;
    world.settled().await;
    world.eventually("the host is full no longer", async |_: &World| !is_full()).await;

    // Another host has room: the next job goes there.
    world.send("four", "galaxy/engine:1").await;
    world.eventually("the host is full", async |_: &World| is_full()).await;
    let b = world.replica(&[("engine-host-id", "b"), ("http-addr", &addresses[1])]);
    world.begun(b).await;
    world.settled().await;
    assert_eq!(hosts_of(&world, &["four".to_owned()]).await, [("four".to_owned(), "b".to_owned())]);
    assert!(is_full());
    end_game(&world, "two").await;
    world.eventually("the host has noticed that there is room", async |_: &World| !is_full()).await;

    let account = world.account().await;
    assert_eq!(
        account.outcomes,
        [("replay_no_op", 1), ("started", 4)].map(|(word, count)| (word.to_owned(), count)).into()
    );
    assert!(metric("startjobs_retries_total{counted=\"yes\"}") < 0.5, "{}", world.logs());
    assert!(world.lobby.all_dead().await.expect("dead letters").is_empty());
}
