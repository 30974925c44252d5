//! What operators are shown by a worker itself: over HTTP, to Prometheus, to systemd, in its log.

// probes, the fleet as JSON, and every limit of the listener
mod http;
// the table of metrics, both ways
mod metrics;
// the fleet's streams as gauges
mod sampler;
// readiness, status and watchdog on a socket of the test's own
mod systemd;
// every line of a log
mod logs;
// a log without a reader
mod stalled;
// thousands of connections
mod crowds;
// dashboard, rules, alerts, runbooks
mod monitoring;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::http::{Answer, SERVED, address_of, exchange};
use crate::support::world::PATIENCE;

/// Asks with this method and nothing else.
async fn ask(address: &str, method: &str, path: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    Answer::read(&exchange(address, request.as_bytes()).await)
}

/// Gets a path.
async fn get(address: &str, path: &str) -> Answer {
    ask(address, "GET", path).await
}

/// The value of the sample of this name and these labels, as they stand in the exposition.
fn sample(exposition: &str, name: &str) -> Option<f64> {
    let line = exposition.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

/// Waits until a sample has a value that will do.
async fn sampled(address: &str, name: &str, will_do: impl Fn(f64) -> bool) -> String {
    let began = std::time::Instant::now();
    loop {
        let exposition = get(address, "/metrics").await.body;
        if sample(&exposition, name).is_some_and(&will_do) {
            return exposition;
        }
        assert!(began.elapsed() < PATIENCE, "{name} never came true in\n{exposition}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs promtool with this text as its input. None where it is missing, which on CI is a failure.
fn promtool(arguments: &[&str], input: Option<&Path>) -> Option<Output> {
    let stdin = input.map_or_else(Stdio::null, |input| std::fs::File::open(input).expect("the input").into());
    let output = Command::new("promtool").args(arguments).stdin(stdin).output();
    match output {
        Ok(output) => Some(output),
        Err(error) => {
            let said =
                format!("promtool cannot run ({error}): install the package that brings it (Debian: prometheus)");
            assert!(std::env::var_os("CI").is_none(), "{said}");
            eprintln!("TEST LEFT OUT: {said}");
            None
        }
    }
}

/// A file of the repository.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Its text.
fn document(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
