//! Game engines that are never ready, or no longer: what Lobby reads, and how soon.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{GAME, answered, binary, docker, ends_well, world};
use crate::support::dockerd::Dockerd;

/// A game engine that accepts one connection, says nothing, and ends 300 ms later.
const SHORT_LIVED: &str = r"
#include <arpa/inet.h>
#include <unistd.h>

int main() {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons(8080);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) return 1;
    if (accept(listener, 0, 0) < 0) return 2;
    usleep(300 * 1000);
    return 9;
}
";

fn short_lived() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, program) = (dir.path().join("engine.c"), dir.path().join("engine"));
    std::fs::write(&source, SHORT_LIVED).expect("the directory is ours");
    let compiled = Command::new("cc").arg(&source).arg("-o").arg(&program).output().expect("a C compiler links Rust");
    assert!(compiled.status.success(), "cc: {}", String::from_utf8_lossy(&compiled.stderr));
    (dir, program)
}

#[tokio::test]
async fn health_without_a_health_check_is_said_at_once() {
    let Some(dockerd) = docker() else { return };
    let mut world = world(&dockerd, &[("readiness", "health"), ("ready-timeout", "60s")]).await;
    world.replica(&[]);
    let began = Instant::now();
    let job = world.send("game", GAME).await;
    let outcome = answered(&mut world, job).await;
    assert_eq!(outcome.get("error_code"), "engine_not_ready", "{outcome:?}");
    let words = "the image has no health check, and readiness is `health`";
    assert_eq!(outcome.get("error_message"), words);
    assert!(began.elapsed() < Duration::from_secs(30), "took {:?}", began.elapsed());
    ends_well(&mut world).await;
    assert_eq!(dockerd.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn an_engine_without_a_bridge_publishes_no_ports() {
    let Some(dockerd) = Dockerd::start_with(&["--bridge=none"]) else { return };
    dockerd.import_image(GAME, binary(), &["engine"], &[]);
    let mut world = world(&dockerd, &[("ready-timeout", "500ms")]).await;
    world.replica(&[]);
    let job = world.send("game", GAME).await;
    let outcome = answered(&mut world, job).await;
    assert_eq!(outcome.get("error_code"), "engine_not_ready", "{outcome:?}");
    let words = "the engine has not published port 8080 of the container within 500ms";
    assert!(outcome.get("error_message").contains(words), "{outcome:?}");
    ends_well(&mut world).await;
}

#[tokio::test]
async fn a_game_engine_that_accepts_and_ends_was_not_ready() {
    let Some(dockerd) = docker() else { return };
    let (_dir, program) = short_lived();
    let image = "startjobs.test/short:1";
    dockerd.import_image(image, &program, &[], &[]);
    let mut world = world(&dockerd, &[("ready-timeout", "5s")]).await;
    world.replica(&[]);
    let job = world.send("game", image).await;
    let outcome = answered(&mut world, job).await;
    assert_eq!(outcome.get("error_code"), "engine_exited", "{outcome:?}");
    assert!(outcome.get("error_message").contains("exited with code 9"), "{outcome:?}");
    ends_well(&mut world).await;
    assert_eq!(dockerd.containers(), Vec::<String>::new());
}
