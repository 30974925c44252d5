//! Probes, the fleet as JSON, and every limit of the listener.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use startjobs::version::{REVISION, RUSTC, VERSION};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Answer, SERVED, address_of, ask, exchange, get};
use crate::support::world::{FAST, World};

const FLEET: [&str; 4] = ["status", "alerts", "replicas", "pending"];

/// The command line tool with the fleet's settings.
fn command(world: &World, arguments: &[&str]) -> std::process::Output {
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .args(arguments)
        .env_clear()
        .env("STARTJOBS_REDIS_URL", world.redis.url())
        .envs(FAST.iter().map(|&(name, value)| (variable(name), value)))
        .output()
        .expect("the binary under test runs")
}

/// Without what differs from one moment to the next.
fn timeless(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|name, _| {
                    !(name.ends_with("_ms")
                        || ["used_memory", "deliveries", "sentence", "problems", "value"].contains(&&**name))
                });
                members.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}

#[tokio::test]
async fn the_fleet_is_served_as_the_commands_print_it() {
    let mut world = World::with(&[("simulated-latency", "60s")]).await;
    world.replica(&[SERVED]);
    world.begun(0).await;
    let address = address_of(&mut world, 0).await;
    for number in 0..3 {
        world.send(&format!("game-{number}"), "galaxy/engine:1").await;
    }
    world.send_malformed().await;
    world
        .eventually("all are in flight", async |world: &World| {
            world.lobby.pending().await.is_ok_and(|pending| pending.len() == 3)
                && world.lobby.all_dead().await.is_ok_and(|dead| dead.len() == 1)
        })
        .await;
    // The presence record says how many starts are under way with the next renewal.
    world
        .eventually("the replica says so", async |world: &World| {
            world.presences().await.values().all(|record| record.contains("\"in_flight\":3"))
        })
        .await;
    for name in FLEET {
        let path = format!("/api/v1/{name}.json");
        let served = get(&address, &path).await;
        assert_eq!((served.status, &*served.headers["content-type"]), (200, "application/json"), "{served:?}");
        let printed = command(&world, &[name, "--json"]);
        let printed: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
        assert_eq!(timeless(served.json()), timeless(printed), "{name}");
        assert!(served.body.starts_with("{\"schema_version\":2,"), "{served:?}");
    }
    assert_eq!(get(&address, "/api/v1/pending.json").await.json()["total"], 3);
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_said_in_bounded_time_and_the_process_still_lives() {
    let mut world = World::new().await;
    world.replica(&[SERVED]);
    world.begun(0).await;
    let address = address_of(&mut world, 0).await;
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(get(&address, path).await.status, 200, "{path}");
    }
    world.redis.pause();
    let began = Instant::now();
    for name in FLEET {
        let answer = get(&address, &format!("/api/v1/{name}.json")).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.json()["error"].as_str().is_some_and(|error| !error.is_empty()), "{answer:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(24), "took {:?}", began.elapsed());
    world
        .eventually("it is not ready", async |_: &World| {
            let readiness = get(&address, "/readyz").await;
            readiness.status == 503 && readiness.json()["failing"]["redis"].is_string()
        })
        .await;
    assert_eq!(get(&address, "/livez").await.status, 200, "a restart would not help Redis");
    assert_eq!(get(&address, "/startupz").await.status, 200);
    world.redis.resume();
    world.eventually("it is ready", async |_: &World| get(&address, "/readyz").await.status == 200).await;
    world
        .eventually("the fleet is seen", async |_: &World| get(&address, "/api/v1/status.json").await.status == 200)
        .await;
}

#[tokio::test]
async fn before_redis_is_there_the_process_lives_and_says_what_it_waits_for() {
    let mut world = World::new().await;
    world.redis.kill();
    world.replica(&[SERVED]);
    let address = address_of(&mut world, 0).await;
    assert_eq!((get(&address, "/livez").await.status, get(&address, "/startupz").await.status), (200, 503));
    world
        .eventually("it says what it waits for", async |_: &World| {
            let failing = get(&address, "/readyz").await.json()["failing"].clone();
            failing["start"].is_string() && failing["redis"].is_string()
        })
        .await;
    let metrics = get(&address, "/metrics").await.body;
    assert!(metrics.contains("startjobs_condition{condition=\"redis\"} 1"), "{metrics}");
    world.redis.start_again().expect("redis-server starts again");
    world.eventually("it started", async |_: &World| get(&address, "/startupz").await.status == 200).await;
}

#[tokio::test]
async fn a_draining_replica_is_not_ready_and_answers_until_its_end() {
    let mut world = World::with(&[("simulated-latency", "1500ms")]).await;
    world.replica(&[SERVED]);
    world.begun(0).await;
    let address = address_of(&mut world, 0).await;
    world.send("game-1", "galaxy/engine:1").await;
    world
        .eventually("it is being started", async |world: &World| {
            world.redis(&["EXISTS", "rtm:{game-1}:rec"]).await.as_i64() == Some(1)
        })
        .await;
    world.signal(0, Signal::TERM);
    world
        .eventually("it drains", async |_: &World| {
            let readiness = get(&address, "/readyz").await;
            readiness.status == 503 && readiness.json()["failing"]["drain"].is_string()
        })
        .await;
    assert_eq!(get(&address, "/livez").await.status, 200);
    assert!(get(&address, "/metrics").await.body.contains("startjobs_draining 1\n"));
    assert!(world.ended(0, Duration::from_secs(10)).await.success());
}

#[tokio::test]
async fn only_questions_without_a_body_are_answered_whoever_they_are_addressed_to() {
    let mut world = World::new().await;
    world.replica(&[SERVED, ("page", "off")]);
    let address = address_of(&mut world, 0).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        for path in ["/livez", "/metrics", "/api/v1/status.json", "/nowhere"] {
            let answer = ask(&address, method, path).await;
            assert_eq!((answer.status, answer.headers["allow"].as_str()), (405, "GET, HEAD"), "{method} {path}");
        }
    }
    let head = ask(&address, "HEAD", "/livez").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for path in ["/", "/admin", "/api/v1/pause", "/metrics/", "/api/v1/status", "/../etc/passwd"] {
        assert_eq!(get(&address, path).await.status, 404, "{path}");
    }
    let version = get(&address, "/version").await.json();
    assert_eq!(
        version,
        serde_json::json!({"name": "startjobs", "version": VERSION, "revision": REVISION, "rustc": RUSTC})
    );
    // A body, or the announcement of one.
    for request in [
        "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        assert_eq!(Answer::read(&exchange(&address, request.as_bytes()).await).status, 413, "{request}");
    }
    // Any Host, or none.
    for host in ["", "Host: evil.example\r\n", "Host: [::1]:1\r\n", "Host:\r\n"] {
        let request = format!("GET /livez HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        assert_eq!(Answer::read(&exchange(&address, request.as_bytes()).await).status, 200, "{host:?}");
    }
    assert_eq!(exchange(&address, b"GET /livez HTTP/1.0\r\n\r\n").await.lines().next(), Some("HTTP/1.0 200 OK"));
}

#[tokio::test]
async fn heads_are_bounded_in_size_and_time() {
    let mut world = World::new().await;
    world.replica(&[SERVED]);
    let address = address_of(&mut world, 0).await;
    let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(64 * 1024));
    let many = format!("GET /livez HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: 1\r\n".repeat(100));
    for request in [&long, &many] {
        let answer = exchange(&address, request.as_bytes()).await;
        // A connection that is reset with unread bytes may lose the answer.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    let answer = exchange(&address, b"\x16\x03\x01\x02\x00 no HTTP at all\r\n\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // Bytes that come one by one, or not at all.
    let began = Instant::now();
    let mut slow = TcpStream::connect(&address).await.expect("the worker listens");
    slow.write_all(b"GET /livez HTTP/1.1\r\nX-Slow: ").await.expect("sent");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(10), slow.read_to_end(&mut rest)).await.expect("it is closed").ok();
    assert!(!String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 200"), "{rest:?}");
    assert!(began.elapsed() > Duration::from_secs(3), "closed after {:?}", began.elapsed());
    assert_eq!(get(&address, "/livez").await.status, 200);
}

#[tokio::test]
async fn connections_are_bounded_in_number_and_those_that_say_nothing_make_room() {
    let mut world = World::new().await;
    world.replica(&[SERVED]);
    world.begun(0).await;
    let address = address_of(&mut world, 0).await;
    let open_files = |world: &mut World| {
        let pid = world.fleet.replica(0).process().id();
        std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there").count()
    };
    let before = open_files(&mut world);
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(&address).await.expect("the kernel accepts"));
    }
    // The question stands behind all of them, and they give way to it.
    let began = Instant::now();
    assert_eq!(get(&address, "/livez").await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(4), "held up for {:?}", began.elapsed());
    assert!(open_files(&mut world) <= before + 64 + 8, "more connections are open than allowed");
    // Work goes on meanwhile.
    world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_a_setting_that_is_wrong() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let mut world = World::new().await;
    world.replica(&[("http-addr", &address)]);
    let status = world.ended(0, Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(78));
    assert!(world.log(0).text().contains(&format!("http-addr {address} cannot be used")));
}

#[tokio::test]
async fn a_container_asks_its_worker_through_the_binary() {
    let mut world = World::new().await;
    world.replica(&[SERVED]);
    world.begun(0).await;
    let address = address_of(&mut world, 0).await;
    let check = |world: &World, more: &[&str]| {
        let output = command(world, &[&["healthcheck", "--http-addr", &address], more].concat());
        (
            output.status.code(),
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text")).concat(),
        )
    };
    assert_eq!(check(&world, &[]), (Some(0), "live\n".to_owned()));
    assert_eq!(check(&world, &["--ready"]), (Some(0), "{\"ready\":true,\"failing\":{}}\n".to_owned()));
    let anywhere = address.replace("127.0.0.1", "0.0.0.0");
    assert_eq!(command(&world, &["healthcheck", "--http-addr", &anywhere]).status.code(), Some(0));
    world.signal(0, Signal::STOP);
    world.paused(0).await;
    let (code, said) = check(&world, &["--timeout", "300ms"]);
    assert!(code == Some(1) && said.contains("no answer within 300ms"), "{said}");
    world.fleet.replica(0).process().kill();
    let (code, said) = check(&world, &[]);
    assert!(code == Some(1) && said.contains("refused"), "{said}");
    assert_eq!(command(&world, &["healthcheck"]).status.code(), Some(78), "http-addr is off");
}
