//! A log without a reader: the worker goes on, says what is missing, and ends in time.

use std::io::{PipeReader, Read, Write, pipe};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{get, sample};
use crate::support::scrape::free_port;
use crate::support::world::{FAST, PATIENCE, World};

/// What a pipe of Linux holds.
const PIPE_BYTES: usize = 65_536;

/// A worker whose two outputs are one pipe, as under most log drivers.
struct Stalled {
    worker: Child,
    address: String,
    reader: PipeReader,
}

impl Stalled {
    /// Starts one on a pipe that has no room from the start.
    fn start(world: &World, log: &str) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let (reader, mut writer) = pipe().expect("a pipe");
        writer.write_all(&vec![b'\n'; PIPE_BYTES]).expect("it has this room");
        let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
        let worker = Command::new(env!("CARGO_BIN_EXE_startjobs"))
            .arg("worker")
            .env_clear()
            .env("RUST_LOG", log)
            .envs(FAST.iter().map(|&(name, value)| (variable(name), value)))
            .env("STARTJOBS_REDIS_URL", world.redis.url())
            .env("STARTJOBS_HTTP_ADDR", &address)
            .stdout(writer.try_clone().expect("another end"))
            .stderr(writer)
            .spawn()
            .expect("the binary under test runs");
        Self { worker, address, reader }
    }

    async fn is_live(&self) {
        let began = Instant::now();
        while tokio::net::TcpStream::connect(&self.address).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "it never listened");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(get(&self.address, "/livez").await.status, 200);
    }

    async fn dropped(&self) -> f64 {
        let exposition = get(&self.address, "/metrics").await.body;
        sample(&exposition, "startjobs_log_lines_dropped_total").expect("it is exported")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.worker), signal).expect("it has not been reaped");
    }

    /// Waits for its end.
    async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.worker.try_wait().expect("it is a child") {
                return status;
            }
            assert!(began.elapsed() < limit, "it has not ended within {limit:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        drop(self.worker.kill());
        drop(self.worker.wait());
    }
}

#[tokio::test]
async fn jobs_probes_and_the_end_need_no_reader_of_the_log() {
    let mut world = World::new().await;
    let mut stalled = Stalled::start(&world, "info");
    stalled.is_live().await;
    world.send_games("game-", 300).await;
    world.settled().await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(&stalled.address, path).await.status, 200, "{path}");
    }
    assert!(stalled.dropped().await < 1.0, "they still wait to be read");
    stalled.signal(Signal::TERM);
    // A second for the lines that cannot be written.
    let status = stalled.ended(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_counted_and_said_where_it_is_missing() {
    let mut world = World::new().await;
    let mut stalled = Stalled::start(&world, "trace");
    stalled.is_live().await;
    let began = Instant::now();
    while stalled.dropped().await < 1.0 {
        assert!(began.elapsed() < PATIENCE, "nothing was ever dropped");
        world.send_games(&format!("game-{}-", began.elapsed().as_micros()), 50).await;
    }
    // On a busy machine they may be thousands.
    world.answered_within(4 * PATIENCE).await;
    world.settled().await;
    // Somebody reads again.
    let mut reader = stalled.reader.try_clone().expect("another end");
    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).expect("it is read");
        String::from_utf8(text).expect("text")
    });
    world.send("game-at-last", "galaxy/engine:1").await;
    world.settled().await;
    let dropped = stalled.dropped().await;
    stalled.signal(Signal::TERM);
    assert_eq!(stalled.ended(PATIENCE).await.code(), Some(0));
    let text = reading.join().expect("it has read");
    let parsed = text.lines().filter(|line| !line.is_empty()).map(serde_json::from_str::<Value>);
    let lines: Vec<Value> = parsed.map(|line| line.expect("every line is whole")).collect();
    let gaps =
        lines.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.contains("lines are missing")));
    let missing: f64 = gaps.map(|line| line["lines"].as_f64().expect("a number")).sum();
    assert!(missing >= 1.0 && (missing - dropped).abs() < 0.5, "{missing} said, {dropped} counted");
    // Behind it libraries may say how they end.
    let is_last = |line: &Value| line["message"] == "start jobs consumer stopped";
    assert_eq!(lines.iter().rev().take(10).filter(|line| is_last(line)).count(), 1, "what came later is complete");
}

#[tokio::test]
async fn a_worker_that_cannot_say_why_it_ends_ends_all_the_same() {
    let world = World::new().await;
    world.redis(&["SET", &world.settings.stream.offset_key, "no id"]).await;
    let mut stalled = Stalled::start(&world, "info");
    assert_eq!(stalled.ended(Duration::from_secs(20)).await.code(), Some(78));
}
