//! Many jobs of a file, or of a pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{command, run, stderr, stdout};
use crate::support::world::World;

fn line(game: &str, image: &str) -> String {
    format!("{{\"game_id\":\"{game}\",\"image_ref\":\"{image}\"}}\n")
}

/// Writes the lines to a file; answers its path.
fn file(world: &World, lines: &str) -> String {
    let path = world.directory.path().join("jobs.ndjson");
    std::fs::write(&path, lines).expect("written");
    path.to_string_lossy().into_owned()
}

/// Runs `send --file -` with these lines on its stdin.
fn piped(world: &World, lines: &str, arguments: &[&str]) -> Output {
    let arguments = [&["send", "--file", "-"], arguments].concat();
    let mut command = command(world, &arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    // A command that refuses a line reads no further.
    _ = child.stdin.take().expect("a pipe").write_all(lines.as_bytes());
    child.wait_with_output().expect("an end")
}

async fn games(world: &World) -> Vec<String> {
    world.entries(&world.settings.stream.jobs).await.iter().map(|entry| entry.get("game_id").to_owned()).collect()
}

#[tokio::test]
async fn every_line_becomes_one_job_in_its_order_and_each_outcome_is_told() {
    let mut world = World::new().await;
    let lines: String = (0..300).map(|number| line(&format!("g{number}"), "galaxy/engine:1")).collect();
    let path = file(&world, &lines);
    let sent = run(&world, &["send", "--file", &path]);
    assert_eq!(sent.status.code(), Some(0), "{sent:?}");
    let ids: Vec<String> = stdout(&sent).lines().map(str::to_owned).collect();
    let entries = world.entries(&world.settings.stream.jobs).await;
    assert_eq!(ids, entries.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>());
    let expected: Vec<String> = (0..300).map(|number| format!("g{number}")).collect();
    assert_eq!(games(&world).await, expected);
    assert!(stderr(&sent).contains("sent 300 jobs"), "{sent:?}");

    world.replica(&[]);
    let waited = piped(&world, &(line("a", "galaxy/engine:1") + &line("b", "sim/missing")), &["--wait", "--json"]);
    assert_eq!(waited.status.code(), Some(1), "{waited:?}");
    let mut outcomes: Vec<Value> =
        stdout(&waited).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    outcomes.sort_by_key(|outcome| outcome["game_id"].to_string());
    let codes: Vec<&Value> = outcomes.iter().map(|outcome| &outcome["error_code"]).collect();
    assert_eq!((outcomes.len(), codes), (2, vec![&"".into(), &"image_not_found".into()]), "{outcomes:?}");
    assert!(stderr(&waited).contains("1 success, 1 failure, 0 without an outcome"), "{waited:?}");
}

#[tokio::test]
async fn a_file_with_a_faulty_line_is_not_sent_and_a_pipe_says_from_which_line_to_go_on() {
    let world = World::new().await;
    let lines = [line("a", "i"), line("b", "i"), line(" ", "i"), "{\"game_id\":\n".to_owned(), line("c", "i")].concat();
    let path = file(&world, &lines);
    for arguments in [&["send", "--file", &path][..], &["send", "--file", &path, "--check"]] {
        let refused = run(&world, arguments);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let said = stderr(&refused);
        assert!(said.contains("line 3: missing game_id") && said.contains("line 4: is not JSON"), "{said}");
        assert!(said.contains("nothing was sent") && refused.stdout.is_empty(), "{said}");
    }
    assert!(games(&world).await.is_empty());

    let stopped = piped(&world, &lines, &[]);
    assert_eq!(stopped.status.code(), Some(2), "{stopped:?}");
    assert!(stderr(&stopped).contains("go on with --from-line 3"), "{stopped:?}");
    assert_eq!(games(&world).await, ["a", "b"]);
    let rest = run(&world, &["send", "--file", &path, "--from-line", "5"]);
    assert_eq!((rest.status.code(), games(&world).await.len()), (Some(0), 3), "{rest:?}");

    for (arguments, says) in [
        (&["send", "--file", "/no/such/file"][..], "No such file"),
        (&["send", "--file", &path, "--game", "g"], "cannot be used with"),
        (&["send", "--check"], "--file"),
        (&["send", "--game", "g"], "--image"),
    ] {
        let refused = run(&world, arguments);
        assert_eq!(refused.status.code().map(|code| code != 0), Some(true), "{refused:?}");
        assert!(stderr(&refused).contains(says), "{refused:?}");
    }
}

#[tokio::test]
async fn a_line_without_an_end_is_refused_without_being_read_whole() {
    let world = World::new().await;
    let endless = piped(&world, &(line("a", "i") + &"x".repeat(4_000_000)), &[]);
    assert_eq!(endless.status.code(), Some(2), "{endless:?}");
    assert!(stderr(&endless).contains("line 2: has more than "), "{endless:?}");
    assert_eq!(games(&world).await, ["a"]);
}

/// Asks a process to end, and waits for that.
fn ended(child: Child, signal: Signal) -> Output {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("it runs");
    child.wait_with_output().expect("an end")
}

#[tokio::test]
async fn a_signal_ends_sending_with_what_was_sent_and_the_next_line() {
    let mut world = World::new().await;
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let before = games(&world).await.len();
        let mut command = command(&world, &["send", "--file", "-"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
        let mut pipe = child.stdin.take().expect("a pipe");
        let lines: String = (0..3).map(|number| line(&format!("g{number}"), "i")).collect();
        pipe.write_all(lines.as_bytes()).expect("it reads");
        world.eventually("three are sent", async |world: &World| games(world).await.len() == before + 3).await;
        let stopped = ended(child, signal);
        drop(pipe);
        assert_eq!(stopped.status.code(), Some(code), "{stopped:?}");
        assert_eq!(stdout(&stopped).lines().count(), 3, "{stopped:?}");
        let said =
            "startjobs: sent 3 jobs\nstartjobs: stdin: stopped by a signal before line 4\n  go on with --from-line 4";
        assert!(stderr(&stopped).contains(said), "{stopped:?}");

        // One alone, which is waited for.
        let mut command = super::command(&world, &["send", "--game", "alone", "--image", "i", "--wait"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
        // It says the id before it waits.
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("a line");
        let id = first.split_whitespace().last().expect("an id").to_owned();
        let stopped = ended(child, signal);
        assert_eq!(stopped.status.code(), Some(code), "{stopped:?}");
        assert!(
            stderr(&stopped).contains(&format!("stopped: sent 1 job, {id}, which stays in the stream")),
            "{stopped:?}"
        );
    }
}
