//! Every line of a worker's log: its form, the fields of the original worker, foreign text, secrets.

use serde_json::Value;
use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::accounting::Sent;

use super::{SERVED, address_of, get};
use crate::support::world::World;

/// Line ends that would forge a line, colours, a turn of the writing direction.
const EVIL: &str = "g\u{1b}[31m\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{7}\u{9b}31m\u{202e}\u{0}";

/// A world in which everything that logs foreign text has logged some.
async fn hostile(settings: &[(&str, &str)]) -> (World, String) {
    let mut world = World::with(settings).await;
    for number in 0..2 {
        world.replica(&[]);
        let begun = "start jobs consumer started";
        world.logged(number, begun, |log| log.text().contains(begun)).await;
    }
    let good = world.send("game-1", "galaxy/engine:1").await.to_string();
    world.send("game-1", "galaxy/engine:1").await;
    world.send("game-2", "sim/missing").await;
    world.send(EVIL, "galaxy/engine:1").await;
    world.send("game-3", EVIL).await;
    world.send_fields(&[("game_id", "g"), (EVIL, EVIL), ("image_ref", " ")], Sent::Malformed).await;
    world.send_fields(&[("game_id", "g"), ("image_ref", "i"), ("requested_at_ms", EVIL)], Sent::Malformed).await;
    world.settled().await;
    world.at_rest().await;
    // Somebody writes into the mirror, and the next settle finds it.
    world.redis(&["SET", &world.settings.stream.offset_key, EVIL]).await;
    world.send("game-4", "galaxy/engine:1").await;
    world.settled().await;
    for number in 0..2 {
        world.signal(number, rustix::process::Signal::TERM);
        world.ended(number, std::time::Duration::from_secs(10)).await;
    }
    (world, good)
}

fn text_of(world: &mut World) -> String {
    world.fleet.replicas().map(|replica| replica.log()).collect()
}

#[tokio::test]
async fn every_line_is_json_and_the_line_of_a_job_has_the_original_workers_fields() {
    let (mut world, good) = hostile(&[]).await;
    let text = text_of(&mut world);
    let mut lines = Vec::new();
    for line in text.split_terminator('\n') {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        for name in ["timestamp", "level", "message", "target"] {
            assert!(value[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {line}");
        }
        let timestamp = value["timestamp"].as_str().expect("a text");
        assert!(timestamp.len() == 27 && timestamp.ends_with('Z'), "RFC 3339 in UTC: {timestamp}");
        assert!(["INFO", "WARN", "ERROR"].contains(&value["level"].as_str().expect("a text")), "{line}");
        assert!(!line.contains(|letter: char| letter.is_control() || letter == '\u{202e}'), "{line:?}");
        lines.push(value);
    }
    assert!(lines.iter().all(|line| line["message"] != "forged"), "{text}");
    let processed: Vec<&Value> = lines.iter().filter(|line| line["message"] == "start job processed").collect();
    assert_eq!(processed.len(), 6, "one line a job: {processed:?}");
    assert!(processed.iter().any(|line| line["stream_entry_id"] == good), "the job's line: {processed:?}");
    // Of two jobs of one game either may have begun first.
    let is_start = |line: &&&Value| line["game_id"] == "game-1" && line["error_code"] == "";
    let line = processed.iter().find(is_start).expect("the line of the start");
    for (name, value) in [
        ("worker", Value::from("rtmanager.startjobs")),
        ("stream", "runtime:start_jobs".into()),
        ("game_id", "game-1".into()),
        ("outcome", "success".into()),
        ("error_code", "".into()),
        ("requested_at_ms", 17.into()),
        ("level", "INFO".into()),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    let codes: Vec<&str> = processed.iter().filter_map(|line| line["error_code"].as_str()).collect();
    for code in ["replay_no_op", "image_not_found", "invalid_game_id", "invalid_image_ref"] {
        assert!(codes.contains(&code), "{code} in {codes:?}");
    }
    let evil = processed.iter().find(|line| line["error_code"] == "invalid_game_id").expect("its line");
    assert!(evil["game_id"].as_str().is_some_and(|game| game.contains("\u{1b}[31m")), "as it came: {evil}");
    assert_eq!(lines.iter().filter(|line| line["message"] == "decode start job").count(), 2);
    assert!(lines.iter().any(|line| line["message"] == "another client wrote the offset mirror"), "{text}");
}

#[tokio::test]
async fn text_lines_escape_whatever_others_wrote() {
    let (mut world, _) = hostile(&[("log-format", "text")]).await;
    let text = text_of(&mut world);
    assert!(text.contains("start job processed") && text.contains("game_id=\"g\\u{1b}[31m\\r\\n"), "{text}");
    let is_wild = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
    assert!(!text.contains(is_wild), "{text:?}");
    for line in text.lines() {
        let levels = [" INFO ", " WARN ", "ERROR "];
        assert!(levels.iter().any(|level| line.contains(level)) && line.starts_with("20"), "not a line: {line:?}");
    }
}

#[tokio::test]
async fn an_offset_that_ends_the_worker_is_said_escaped() {
    let mut world = World::new().await;
    world.redis(&["SET", &world.settings.stream.offset_key, EVIL]).await;
    world.replica(&[]);
    assert_eq!(world.ended(0, std::time::Duration::from_secs(10)).await.code(), Some(78));
    let text = text_of(&mut world);
    let said = text.lines().last().expect("it said why");
    assert!(said.starts_with("startjobs: ") && said.contains("\\u{1b}[31m"), "{text:?}");
    assert!(!text.contains(|letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}'), "{text:?}");
}

#[tokio::test]
async fn secrets_are_never_said() {
    const SECRET: &str = "pa55-w0rd-of-redis";
    let server = RedisServer::start_with(std::path::Path::new("redis-server"), &["--requirepass", SECRET]);
    let world_server = RedisServer::start().expect("redis-server starts");
    let secured = server.expect("redis-server starts");
    let right = format!("redis://:{SECRET}@127.0.0.1:{}", secured.port());
    let wrong = format!("redis://:{SECRET}-not@127.0.0.1:{}", secured.port());
    let mut world = World::on(world_server, &[]).await;
    world.replica(&[SERVED, ("redis-url", &right)]);
    world.replica(&[SERVED, ("redis-url", &wrong)]);
    world.begun(0).await;
    world.logged(1, "a condition", |log| log.count("degraded") > 0).await;
    let mut said = String::new();
    for number in 0..2 {
        let address = address_of(&mut world, number).await;
        for path in ["/metrics", "/readyz", "/version", "/api/v1/status.json", "/api/v1/replicas.json"] {
            said += &get(&address, path).await.body;
        }
    }
    said += &text_of(&mut world);
    assert!(said.contains("\"redis\":\"redis://"), "the URL is said without it: {said}");
    assert!(!said.contains(SECRET), "{said}");
}
