//! The forms that all commands share: errors, empty subjects, times, and narrow terminals.

use std::process::{Command, Output};

use super::{json, run, stdout};
use crate::support::world::World;

fn startjobs(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    command.args(arguments).env_clear().env("USER", "op").output().expect("the binary under test runs")
}

/// Where nothing listens.
const NOWHERE: [&str; 2] = ["--redis-url", "redis://127.0.0.1:1"];

#[test]
fn an_error_says_what_and_why_and_below_it_what_to_do() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let taken = directory.path().join("taken");
    std::fs::write(&taken, "").expect("written");
    let taken = taken.to_str().expect("text");
    let unreachable: &[&[&str]] = &[
        &["status"],
        &["alerts"],
        &["replicas"],
        &["pending"],
        &["jobs"],
        &["history"],
        &["check", "--max-waiting", "1"],
        &["replicas", "forget", "--gone"],
        &["inspect", "game-1"],
        &["runtime", "list"],
        &["runtime", "hosts"],
        &["runtime", "show", "game-1"],
        &["dead", "list"],
        &["dead", "show", "1-1"],
        &["audit"],
        &["send", "--game", "g", "--image", "i"],
    ];
    // Each waits for Redis for some seconds: all at once.
    std::thread::scope(|scope| {
        for words in unreachable {
            scope.spawn(move || {
                let output = startjobs(&[words, &NOWHERE[..]].concat());
                assert_eq!(output.status.code(), Some(69), "{words:?}: {output:?}");
                assert_form(words, &output);
            });
        }
    });
    let others: &[(&[&str], i32)] = &[
        (&["status", "--redis-url", "redis-cluster://h"], 78),
        (&["dead", "remove", "1-1", "--redis-url", "redis://127.0.0.1:1"], 2),
        (&["runtime", "stop", "g"], 2),
        (&["runtime", "reconcile"], 2),
        (&["send", "--file", "/no/such/file"], 2),
        (&["healthcheck", "--http-addr", "off"], 78),
        (&["healthcheck", "--http-addr", "127.0.0.1:1"], 1),
        (&["dash"], 2),
        (&["dev", "--replicas", "1", "--hosts", "2"], 2),
        (&["dead", "requeue"], 2),
        (&["runtime", "explain", "i:1", "--policy-file", "/no/such/file"], 78),
        (&["doctor", "--bundle", taken, "--redis-url", "redis://127.0.0.1:1", "--timeout", "50ms"], 1),
    ];
    for (words, code) in others {
        let output = startjobs(words);
        assert_eq!(output.status.code(), Some(*code), "{words:?}: {output:?}");
        assert_form(words, &output);
    }
}

/// `startjobs: what: why`, and then lines that are indented.
fn assert_form(words: &[&str], output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_first = |line: &str| line.starts_with("startjobs: ") && !line.ends_with(['.', ' ']);
    let first = said.lines().position(|line| is_first(line) && !line.contains("waiting for Redis"));
    let first = first.unwrap_or_else(|| panic!("{words:?}: {said}"));
    assert!(said.lines().nth(first + 1).is_some_and(|line| line.starts_with("  ")), "{words:?}: {said}");
    for line in said.lines() {
        assert!(line.starts_with("startjobs: ") || line.starts_with("  "), "{words:?}: {line}\n{said}");
    }
}

/// The arguments of each call of this function in a source, as far as its closing bracket.
fn calls<'a>(source: &'a str, function: &str) -> Vec<&'a str> {
    let end_of = |rest: &str| {
        let (mut depth, mut is_text, mut before) = (1, false, ' ');
        rest.char_indices().find_map(|(at, letter)| {
            match letter {
                '"' if before != '\\' => is_text = !is_text,
                '(' if !is_text => depth += 1,
                ')' if !is_text => depth -= 1,
                _ => {}
            }
            before = letter;
            (depth == 0).then_some(at)
        })
    };
    let call = |(at, found): (usize, &str)| {
        let rest = &source[at + found.len()..];
        &rest[..end_of(rest).unwrap_or(rest.len())]
    };
    source.match_indices(function).map(call).collect()
}

/// Every message that a command writes is in the one form, and every error says what to do: what clap says is its own.
#[test]
fn no_command_has_a_form_of_its_own() {
    // These tell of progress, or repeat what clap says.
    const OTHERS: [&str; 6] = ["bench/", "demo/", "engine.rs", "tree.rs", "confirm.rs", "output.rs"];
    // A report of settings names each with what it must be.
    const REPORTS: [&str; 2] = ["setting_flags.rs", "config.rs"];
    let mut looked_at = 0;
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.display().to_string();
            if OTHERS.iter().any(|other| name.contains(other)) {
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("text");
            for words in calls(&source, "eprintln!(") {
                let text = words.trim_start().trim_start_matches('"');
                assert!(text.starts_with("startjobs: ") || text.starts_with("  "), "{name}: eprintln!({words})");
            }
            for words in calls(&source, "complain(") {
                let words = words.trim_end().trim_end_matches(',');
                let is_report = REPORTS.iter().any(|report| name.ends_with(report));
                assert!(is_report || !words.ends_with("\"\""), "{name}: an error without what to do: {words}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 40, "{looked_at}");
}

#[test]
fn a_subject_that_says_nothing_is_refused() {
    for blank in ["", "  ", "\t"] {
        for words in [
            &["inspect", blank][..],
            &["runtime", "show", blank],
            &["runtime", "stop", blank],
            &["runtime", "evict", blank],
            &["runtime", "pull", blank],
            &["runtime", "explain", blank],
            &["runtime", "list", "--host", blank],
            &["dead", "show", blank],
            &["dead", "list", "--game", blank],
            &["dead", "requeue", blank],
            &["doctor", "--image", blank],
            &["send", "--game", blank, "--image", "i"],
            &["send", "--game", "g", "--image", blank],
        ] {
            let output = startjobs(words);
            assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
            assert!(
                String::from_utf8_lossy(&output.stderr).starts_with("error: invalid value"),
                "{words:?}: {output:?}"
            );
        }
    }
}

/// What a command prints on a terminal of so many columns.
fn narrow(world: &World, columns: &str, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    command.args(words).env_clear().env("COLUMNS", columns).env("STARTJOBS_REDIS_URL", world.redis.url());
    let output = command.output().expect("the binary under test runs");
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    stdout(&output)
}

#[tokio::test]
async fn sixty_columns_are_enough_and_no_id_is_cut() {
    const COLUMNS: usize = 60;
    let mut world = World::new().await;
    world.replica(&[]);
    let started = world.send("game-with-a-long-name-of-many-letters", "galaxy/engine:1").await.to_string();
    let malformed = world.send_malformed().await.to_string();
    world.settled().await;
    let slow = world.send("game-2", "sim/slow:60s").await.to_string();
    world.held(1).await;
    let replica = json(&world, &["replicas"])["replicas"][0]["name"].as_str().expect("a name").to_owned();
    let letter = json(&world, &["dead", "list"])["dead_letters"][0]["id"].as_str().expect("an id").to_owned();
    for (words, whole) in [
        (&["replicas"][..], vec![&replica]),
        (&["pending"], vec![&slow, &replica]),
        (&["inspect", &started], vec![&started]),
        (&["inspect", "game-with-a-long-name-of-many-letters"], vec![&started]),
        (&["inspect", &malformed], vec![&malformed]),
        (&["dead", "list"], vec![&letter, &malformed]),
        (&["dead", "show", &letter], vec![&letter, &malformed]),
        (&["runtime", "list"], vec![]),
        (&["runtime", "hosts"], vec![]),
    ] {
        let shown = narrow(&world, "60", words);
        for line in shown.lines().filter(|line| line.chars().count() > COLUMNS) {
            // One word alone is wider than its column: it is never broken.
            let last = line.split_whitespace().next_back().unwrap_or_default().chars().count();
            assert!(last > 24, "{words:?}: {line}\n{shown}");
        }
        for id in whole {
            assert!(shown.contains(id.as_str()), "{words:?} cuts {id}: {shown}");
        }
        // Where no terminal is, nothing is folded.
        assert!(narrow(&world, "", words).lines().count() <= shown.lines().count(), "{words:?}");
    }
}

#[tokio::test]
async fn times_are_told_in_both_forms() {
    let mut world = World::new().await;
    world.replica(&[]);
    let id = world.send("game-1", "galaxy/engine:1").await.to_string();
    world.send_malformed().await;
    world.settled().await;
    let letter = json(&world, &["dead", "list"])["dead_letters"][0]["id"].as_str().expect("an id").to_owned();
    for words in [
        &["inspect", &id][..],
        &["inspect", "game-1"],
        &["dead", "list"],
        &["dead", "show", &letter],
        &["replicas"],
        &["runtime", "list"],
        &["runtime", "hosts"],
    ] {
        let shown = stdout(&run(&world, words));
        let has_moment = shown.split_whitespace().any(|word| {
            let word = word.trim_matches(['(', ')', ',', ';', ':']);
            word.len() == "2026-11-29T17:00:00.000Z".len() && word.starts_with("20") && word.ends_with('Z')
        });
        assert!(has_moment, "{words:?}: {shown}");
        assert!(shown.contains(" ago") || shown.contains("AGE"), "{words:?}: {shown}");
    }
}
