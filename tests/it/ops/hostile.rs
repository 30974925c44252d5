//! Foreign text never reaches a terminal as anything but text.

use super::{json, run, stdout};
use crate::support::world::World;

/// Clears the screen, sets a title, turns the direction of writing, hides.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{200b}\u{7f}\r\nhealthy";

fn assert_tame(text: &str) {
    let is_wild = |letter: char| (letter.is_control() && letter != '\n') || ['\u{202e}', '\u{200b}'].contains(&letter);
    assert!(!text.contains(is_wild), "{text:?}");
}

#[tokio::test]
async fn every_command_escapes_what_others_wrote() {
    let world = World::new().await;
    let streams = world.settings.stream.clone();
    let id = world.lobby.append(EVIL, EVIL, 17).await.expect("appended").to_string();
    world.redis(&["XGROUP", "CREATE", &streams.jobs, &streams.group, "0"]).await;
    world.redis(&["XREADGROUP", "GROUP", &streams.group, EVIL, "STREAMS", &streams.jobs, ">"]).await;
    world.redis(&["SET", &streams.offset_key, EVIL]).await;
    let about = serde_json::json!({"host": EVIL, "version": EVIL, "engine": EVIL, "started_at_ms": 1});
    let presence = format!("99999999999999 running {about}");
    world.redis(&["HSET", &format!("{}:replicas", streams.jobs), &format!("{EVIL}2"), &presence]).await;
    run(&world, &["pause", "--reason", EVIL]);

    for command in [&["status"][..], &["replicas"], &["pending"], &["inspect", &id], &["inspect", EVIL], &["doctor"]] {
        let output = run(&world, command);
        assert_tame(&stdout(&output));
        assert_tame(&String::from_utf8_lossy(&output.stderr));
    }
    let pending = stdout(&run(&world, &["pending"]));
    assert_eq!(pending.lines().count(), 2, "one entry is one line: {pending}");
    assert!(pending.contains("\\u{1b}[2J") && pending.contains("\\u{202e}"), "{pending}");
    let status = stdout(&run(&world, &["status"]));
    assert!(status.lines().next().is_some_and(|line| line.starts_with("Degraded: ")), "{status}");
    // JSON carries the text as it is, as its own escapes.
    assert_eq!(json(&world, &["pending"])["pending"][0]["replica"], EVIL);

    // An outcome's words are an engine's, or anybody's.
    world.redis(&["XACK", &streams.jobs, &streams.group, &id]).await;
    let outcome = [
        "XADD",
        &streams.results,
        "*",
        "source_ref",
        &id,
        "outcome",
        "failure",
        "error_code",
        "x",
        "error_message",
        EVIL,
    ];
    world.redis(&outcome).await;
    let story = stdout(&run(&world, &["inspect", &id]));
    assert_tame(&story);
    assert!(story.contains("outcome") && story.contains("\\u{1b}]0;owned"), "{story}");
    let letter = ["game_id", EVIL, "image_ref", EVIL];
    world.redis(&[&["XADD", streams.dead.as_str(), "*"], &letter[..]].concat()).await;
    json_is_tame_too(&world, &id);
}

fn json_is_tame_too(world: &World, id: &str) {
    for command in [
        &["status"][..],
        &["alerts"],
        &["replicas"],
        &["pending"],
        &["inspect", id],
        &["inspect", EVIL],
        &["doctor"],
        &["check", "--format", "json"],
        &["audit"],
        &["dead", "list"],
        &["dead", "show"],
        &["dead", "export"],
        &["config", "show", "--group", EVIL],
    ] {
        let has_flag = !command.contains(&"export") && !command.contains(&"check");
        let flag: &[&str] = if has_flag { &["--json"] } else { &[] };
        let output = run(world, &[command, flag].concat());
        assert_tame(&stdout(&output));
    }
    let lines = stdout(&run(world, &["dead", "export"]));
    assert!(lines.contains("\\u202e") && lines.contains("\\u009b31m"), "{lines}");
    let exported: serde_json::Value = serde_json::from_str(lines.trim()).expect("one object");
    assert_eq!(exported["game"], EVIL, "{lines}");
}

#[tokio::test]
async fn bytes_that_are_no_text_are_shown_all_the_same() {
    let world = World::new().await;
    let streams = world.settings.stream.clone();
    let add = "return redis.call('XADD', KEYS[1], '*', 'game_id', '\\255\\254g', 'image_ref', '\\255')";
    let id = world.redis(&["EVAL", add, "1", &streams.jobs]).await.as_string().expect("an id");
    world.redis(&["XGROUP", "CREATE", &streams.jobs, &streams.group, "0"]).await;
    world.redis(&["XREADGROUP", "GROUP", &streams.group, "c", "STREAMS", &streams.jobs, ">"]).await;
    let name = "redis.call('HSET', KEYS[1], 'r\\255', '5 running \\255')";
    world.redis(&["EVAL", name, "1", &format!("{}:replicas", streams.jobs)]).await;
    for command in [&["status"][..], &["replicas"], &["pending"], &["inspect", &id]] {
        let output = run(&world, command);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_tame(&stdout(&output));
        json(&world, command);
    }
}
