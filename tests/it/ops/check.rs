//! Limits and exit codes.

use std::time::Instant;

use super::{run, stderr, stdout};
use crate::support::world::World;

#[tokio::test]
async fn limits_that_are_kept_and_limits_that_are_broken() {
    let mut world = World::new().await;
    world.create_group().await;
    for number in 0..3 {
        world.send(&format!("game-{number}"), "galaxy/engine:1").await;
    }
    let output = run(&world, &["check", "--max-waiting", "3", "--max-dead", "0", "--max-oldest", "1h"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).starts_with("ok      waiting 3 <= 3\nok      oldest "), "{output:?}");

    let broken = ["check", "--max-waiting", "2", "--min-replicas", "1"];
    let output = run(&world, &broken);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        stdout(&output).starts_with("broken  waiting 3 > 2\nbroken  replicas 0 < 1\nBroken: waiting 3 > 2, "),
        "{output:?}"
    );
    assert!(stdout(&output).contains(", replicas 0 < 1. Down: no replica reads; "), "{output:?}");

    let output = run(&world, &[&broken[..], &["--format", "json"]].concat());
    let checked: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&checked["ok"], &checked["checks"][0]["value"]), (&false.into(), &3.0.into()), "{checked}");
    let output = run(&world, &[&broken[..], &["--format", "prometheus"]].concat());
    let text = stdout(&output);
    assert!(text.contains("\nstartjobs_check_value{check=\"max-waiting\"} 3\n"), "{text}");
    assert!(
        text.contains("\nstartjobs_check_ok{check=\"min-replicas\"} 0\n") && text.contains("startjobs_check_up 1\n"),
        "{text}"
    );

    let output = run(&world, &[&broken[..], &["--format", "nagios"]].concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let expected = "STARTJOBS CRITICAL - waiting 3 > 2, replicas 0 < 1 | waiting=3;;2;0; replicas=0;;1:;0;\n";
    assert_eq!(stdout(&output), expected);
    let output = run(&world, &["check", "--max-waiting", "9", "--format", "nagios"]);
    assert_eq!((output.status.code(), stdout(&output).starts_with("STARTJOBS OK - ")), (Some(0), true), "{output:?}");
    run(&world, &["pause"]);
    let output = run(&world, &["check", "--max-waiting", "9", "--format", "nagios"]);
    assert_eq!((output.status.code(), stdout(&output).contains("the fleet is paused")), (Some(1), true), "{output:?}");
}

#[tokio::test]
async fn no_form_calls_a_fleet_well_whose_limit_is_broken() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.begun(0).await;
    let broken = ["check", "--min-replicas", "2"];
    let output = run(&world, &broken);
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(3), "broken  replicas 1 < 2\nBroken: replicas 1 < 2.\n")
    );
    let output = run(&world, &[&broken[..], &["--format", "json"]].concat());
    let checked: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&checked["ok"], &checked["sentence"]), (&false.into(), &"Broken: replicas 1 < 2.".into()), "{checked}");
    for format in ["text", "json", "nagios", "prometheus"] {
        let output = run(&world, &[&broken[..], &["--format", format]].concat());
        assert!(!stdout(&output).to_lowercase().contains("healthy"), "{output:?}");
        // A mistyped stream keeps no limit.
        let output = run(&world, &["check", "--max-dead", "9", "--format", format, "--jobs-stream", "typo"]);
        let code = if format == "nagios" { 2 } else { 3 };
        assert_eq!((output.status.code(), stdout(&output).contains("fleet")), (Some(code), true), "{output:?}");
    }
    let output = run(&world, &["check", "--min-replicas", "1"]);
    assert_eq!(stdout(&output), "ok      replicas 1 >= 1\nHealthy: 1 replica reads, nothing waits.\n");
}

#[tokio::test]
async fn waiting_for_a_limit_ends_when_it_is_kept_or_in_time() {
    let mut world = World::new().await;
    let began = Instant::now();
    let output = run(&world, &["check", "--min-replicas", "1", "--wait", "1s"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    world.replica(&[]);
    let output = run(&world, &["check", "--min-replicas", "1", "--wait", "60s"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[tokio::test]
async fn every_exit_code_is_the_one_that_is_documented() {
    let world = World::new().await;
    let code = |arguments: &[&str]| run(&world, arguments).status.code();
    assert_eq!(code(&["check"]), Some(2), "no limit at all");
    assert_eq!(code(&["check", "--max-waiting", "x"]), Some(2));
    assert_eq!(code(&["status", "--redis-url", "ftp://h"]), Some(78));
    let away = ["--redis-url", "redis://127.0.0.1:1", "--timeout", "300ms"];
    for command in [
        &["status"][..],
        &["alerts"],
        &["replicas"],
        &["pending"],
        &["inspect", "g"],
        &["pause"],
        &["resume"],
        &["check", "--max-dead", "0"],
    ] {
        let began = Instant::now();
        let output = run(&world, &[command, &away].concat());
        assert_eq!(output.status.code(), Some(69), "{command:?}: {output:?}");
        assert!(output.stdout.is_empty() && stderr(&output).contains("redis://127.0.0.1:1"), "{output:?}");
        let names_alert = stderr(&output).contains("the alert RedisDown fires: docs/runbooks.md#redisdown");
        assert!(names_alert || command[0] == "check", "{output:?}");
        assert!(began.elapsed().as_millis() < 3_000, "{command:?} took {:?}", began.elapsed());
    }
    let output = run(&world, &[&["check", "--max-dead", "0", "--format", "nagios"][..], &away].concat());
    assert_eq!(
        (output.status.code(), stdout(&output).starts_with("STARTJOBS UNKNOWN - ")),
        (Some(3), true),
        "{output:?}"
    );
    let output = run(&world, &[&["check", "--max-dead", "0", "--format", "prometheus"][..], &away].concat());
    assert_eq!(
        (output.status.code(), stdout(&output).ends_with("startjobs_check_up 0\n")),
        (Some(69), true),
        "{output:?}"
    );
}
