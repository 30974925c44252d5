//! Thousands of connections on the port of the probes: a probe is answered all the same, from the same address.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{SERVED, address_of, get};
use crate::support::scrape::free_port;
use crate::support::world::{FAST, PATIENCE, World};

const CROWD: usize = 10_000;
/// What is promised.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// A probe's limit in deploy/kubernetes, which may be missed now and then: nine of ten are in time on a busy machine.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Raises the limit of open files of this process as far as it may; answers how many connections fit.
fn allowed(wanted: usize) -> usize {
    const OTHERS: u64 = 200;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the maximum");
    let fit = limit.maximum.map_or(wanted, |limit| usize::try_from(limit.saturating_sub(OTHERS)).unwrap_or(wanted));
    if fit < wanted {
        eprintln!("TEST REDUCED: the limit of open files (ulimit -n) allows {fit} connections of {wanted}");
    }
    fit.min(wanted)
}

/// What one of the crowd does until it is closed.
async fn linger(address: Arc<str>, number: usize, open: Arc<AtomicUsize>) {
    let Ok(mut stream) = TcpStream::connect(&*address).await else { return };
    open.fetch_add(1, Ordering::Relaxed);
    let head = b"GET /livez HTTP/1.1\r\nX-Slow: ";
    let mut rest = Vec::new();
    match number % 3 {
        // Idle.
        0 => {}
        // Slow: the head never ends.
        1 => drop(stream.write_all(head).await),
        // Trickling.
        _ => {
            for byte in head.iter().chain(std::iter::repeat(&b'x')) {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    }
    drop(stream.read_to_end(&mut rest).await);
}

#[tokio::test]
async fn a_probe_is_answered_beside_ten_thousand_idle_slow_and_trickling_connections() {
    let mut world = World::new().await;
    world.replica(&[SERVED]);
    world.begun(0).await;
    let address: Arc<str> = address_of(&mut world, 0).await.into();
    let (crowd, open) = (allowed(CROWD), Arc::new(AtomicUsize::new(0)));
    let mut lingering = JoinSet::new();
    let mut took = Vec::new();
    // While they come, and after.
    for number in 0..crowd {
        lingering.spawn(linger(Arc::clone(&address), number, Arc::clone(&open)));
        if number % 500 == 499 || number + 1 == crowd {
            let until = number + 1;
            while open.load(Ordering::Relaxed) < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let began = Instant::now();
            assert_eq!(get(&address, "/livez").await.status, 200);
            took.push(began.elapsed());
        }
    }
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(get(&address, "/readyz").await.status, 200);
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    took.sort_unstable();
    let (median, most) = (took[took.len() / 2], took[took.len() * 9 / 10]);
    eprintln!("{crowd} connections, a probe took {median:?} in the median, and nine of ten {most:?} at most");
    assert!(median < ANSWER_WITHIN && most < PROBE_TIMEOUT, "{took:?}");
    let pid = world.fleet.replica(0).process().id();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there").count();
    assert!(files < 64 + 64, "{files} files are open");
    world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
}

#[tokio::test]
async fn a_crowd_does_not_interrupt_an_answer() {
    let mut world = World::new().await;
    world.replica(&[SERVED]);
    world.begun(0).await;
    let address = address_of(&mut world, 0).await;
    // This answer takes its time.
    world.redis.pause();
    let asked = address.clone();
    let answer = tokio::spawn(async move { get(&asked, "/api/v1/status.json").await });
    let mut crowd = Vec::new();
    let mut probes = 0;
    while !answer.is_finished() {
        crowd.push(TcpStream::connect(&address).await.expect("the kernel accepts"));
        if crowd.len() % 50 == 0 {
            assert_eq!(get(&address, "/livez").await.status, 200);
            probes += 1;
            crowd.drain(..25);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(probes > 3, "the crowd came too late: {probes}");
    let answer = answer.await.expect("it was answered");
    assert_eq!(answer.status, 503, "{answer:?}");
    world.redis.resume();
}

#[tokio::test]
async fn a_process_without_a_free_file_gives_up_a_connection_for_a_probe() {
    let world = World::new().await;
    let address = format!("127.0.0.1:{}", free_port());
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    let mut worker = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 40; exec \"$0\" worker", env!("CARGO_BIN_EXE_startjobs")])
        .envs(FAST.iter().map(|&(name, value)| (variable(name), value)))
        .env("STARTJOBS_REDIS_URL", world.redis.url())
        .env("STARTJOBS_HTTP_ADDR", &address)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("sh runs");
    let began = Instant::now();
    while TcpStream::connect(&address).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "it never listened");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(TcpStream::connect(&address).await.expect("the kernel accepts"));
    }
    let files = || std::fs::read_dir(format!("/proc/{}/fd", worker.id())).expect("the process is there").count();
    while files() < 40 {
        assert!(began.elapsed() < PATIENCE, "only {} files are open", files());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asked = Instant::now();
    assert_eq!(get(&address, "/livez").await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(4), "it took {:?}", asked.elapsed());
    worker.kill().expect("it is there");
    worker.wait().expect("a child");
}
