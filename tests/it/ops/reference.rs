//! The reference is what the commands say, and shells and readers get theirs.

use std::process::{Command, Output};

use startjobs::cli;
use startjobs::settings::table::{Group, Reach, TABLE};

fn startjobs(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    command.args(arguments).env_clear().output().expect("the binary under test runs")
}

#[test]
fn the_reference_is_current() {
    let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).expect("docs/cli.md");
    let current = cli::man::markdown(cli::command());
    assert!(written == current, "docs/cli.md must hold this text:\n{current}");
}

#[test]
fn every_command_begins_its_help_with_what_it_does_and_examples_that_its_own_parser_takes() {
    let root = cli::command();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        let help = startjobs(&[name, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{name}");
        if command.has_subcommands() {
            continue;
        }
        let text = String::from_utf8(help.stdout).expect("text");
        let about = command.get_about().expect("a description").to_string();
        let (description, rest) = text.split_once("\n\n").expect("a description");
        assert!(description.starts_with(&about) || about.starts_with(description), "{name}: {text}");
        let examples = rest.split_once("Examples:\n").map(|(_, rest)| rest).unwrap_or_default();
        assert!(examples.starts_with("  startjobs "), "{name}: {text}");
        assert!(text.find("Examples:") < text.find("Usage:"), "{name}: {text}");
    }
    for name in ["status", "alerts", "replicas", "pending", "inspect", "check", "doctor", "pause", "resume", "man"] {
        let command = root.find_subcommand(name).expect("the command");
        let examples = command.get_before_help().expect("examples").to_string();
        for line in examples.lines().skip(1) {
            // What follows a pipe, a redirection or wide space is not ours.
            let ours = line.trim().split(" | ").next().unwrap_or_default().split(" && ").next().unwrap_or_default();
            let ours = ours.split("   ").next().unwrap_or_default().replace('\'', "");
            let words: Vec<&str> = ours.split(' ').collect();
            // A quoted text with spaces is one word to a shell.
            let words: Vec<String> = match words.iter().position(|&word| word == "--reason") {
                Some(at) => {
                    words[..=at].iter().map(|&word| word.to_owned()).chain([words[at + 1..].join(" ")]).collect()
                }
                None => words.iter().map(|&word| word.to_owned()).collect(),
            };
            let parsed = cli::command().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{name}: {line}: {:?}", parsed.err().map(|error| error.to_string()));
        }
    }
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = startjobs(&["completions", shell]);
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(text.contains("replicas") && text.contains("max-oldest"), "{shell}: {text}");
        assert!(text.contains("retry-now") && !text.contains("bench-subject"), "{shell} offers a hidden command");
    }
    assert_eq!(startjobs(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn every_command_has_its_manual_page() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("new").join("man1");
    let out_text = out.to_str().expect("text");
    assert_eq!(startjobs(&["man", "--out", out_text]).status.code(), Some(0));
    for command in cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let page = std::fs::read_to_string(out.join(format!("startjobs-{}.1", command.get_name())));
        assert!(page.is_ok_and(|page| page.contains(".SH NAME")), "{}", command.get_name());
    }
    assert!(out.join("startjobs.1").exists());
    assert!(!out.join("startjobs-engine.1").exists(), "hidden commands have none");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("written");
    assert_eq!(startjobs(&["man", "--out", file.to_str().expect("text")]).status.code(), Some(1));
}

/// Every command that people are shown, by its words.
fn commands(command: &clap::Command, words: &[String]) -> Vec<Vec<String>> {
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    let below = shown.flat_map(|below| commands(below, &[words, &[below.get_name().to_owned()]].concat()));
    [words.to_vec()].into_iter().chain(below).collect()
}

#[test]
fn short_help_shows_a_commands_own_flags_and_long_help_the_settings_too() {
    let mut with_settings = 0;
    for words in commands(&cli::command(), &[]) {
        let help = |flag: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_startjobs")).args(&words).arg(flag).env_clear().output();
            String::from_utf8(output.expect("the binary under test runs").stdout).expect("text")
        };
        let (short, long) = (help("-h"), help("--help"));
        assert!(short.starts_with(long.lines().next().expect("a description")), "{words:?}: {short}");
        assert!(!short.contains("[env: STARTJOBS_"), "{words:?}: {short}");
        let has_settings = long.contains("[env: STARTJOBS_");
        with_settings += usize::from(has_settings);
        let hint = "The settings are flags too: --help shows them.";
        assert_eq!((short.contains(hint), long.contains(hint)), (has_settings, false), "{words:?}: {short}");
        assert!(long.len() > short.len() || !has_settings, "{words:?}");
    }
    assert!(with_settings > 15, "{with_settings} commands take settings");
}

/// Those that never talk to Redis, or to one of their own alone.
const WITHOUT_REDIS: &[&str] = &[
    "bench",
    "bench-subject",
    "completions",
    "config policy check",
    "demo",
    "dev",
    "engine",
    "healthcheck",
    "man",
    "runtime explain",
];

/// The commands below this one that have none below themselves, by their words.
fn leaves<'a>(command: &'a clap::Command, words: &str, found: &mut Vec<(String, &'a clap::Command)>) {
    let below: Vec<&clap::Command> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
    for below in &below {
        leaves(below, format!("{words} {}", below.get_name()).trim(), found);
    }
    if below.is_empty() {
        found.push((words.to_owned(), command));
    }
}

#[test]
fn every_command_that_talks_to_redis_takes_everything_about_the_connection() {
    let tree = cli::command();
    let mut found = Vec::new();
    leaves(&tree, "", &mut found);
    let is_without =
        |words: &str| WITHOUT_REDIS.iter().any(|name| words == *name || words.split(' ').next() == Some(name));
    found.retain(|(words, _)| !is_without(words));
    assert!(found.len() > 20, "{}", found.len());
    for (words, command) in found {
        for row in TABLE.iter().filter(|row| row.group == Group::Redis && row.reach != Reach::Environment) {
            assert!(command.get_arguments().any(|arg| arg.get_id() == row.name), "{words} has no --{}", row.name);
        }
    }
}

#[test]
fn values_of_settings_and_options_are_in_the_script_of_every_shell() {
    for (shell, expected) in [
        ("bash", ["\"docker simulated\"", "\"auto json text\"", "\"missing always never\""]),
        ("zsh", ["(docker simulated)", "(auto json text)", "(missing always never)"]),
        ("fish", ["docker\\t''", "json\\t''", "never\\t''"]),
        (
            "elvish",
            [
                "&'startjobs;worker --engine'= [docker simulated]",
                "&'startjobs;worker --log-format'= [auto json text]",
                "&'startjobs;runtime;list --state'= [starting running stopped failed]",
            ],
        ),
        (
            "powershell",
            [
                "'startjobs;worker --engine' { 'docker', 'simulated' }",
                "'startjobs;worker --log-format' { 'auto', 'json', 'text' }",
                "'startjobs;runtime;list --state' { 'starting', 'running', 'stopped', 'failed' }",
            ],
        ),
    ] {
        let script = String::from_utf8(startjobs(&["completions", shell]).stdout).expect("text");
        for part in expected {
            assert!(script.contains(part), "{shell} has no {part}");
        }
    }
    // A bad value of a setting is still a problem among all others, and no wrong usage.
    assert_eq!(startjobs(&["status", "--outcome-fields", "x"]).status.code(), Some(2), "no flag of this command");
    assert_eq!(startjobs(&["config", "show", "--engine", "x"]).status.code(), Some(78));
}
