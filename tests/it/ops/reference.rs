//! The reference is what the commands say, and shells and readers get theirs.

use std::process::{Command, Output};

use startjobs::cli;

fn startjobs(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    command.args(arguments).env_clear().output().expect("the binary under test runs")
}

#[test]
fn the_reference_is_current() {
    let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).expect("docs/cli.md");
    let current = cli::man::markdown();
    assert!(written == current, "docs/cli.md must hold this text:\n{current}");
}

#[test]
fn every_command_begins_its_help_with_examples_that_its_own_parser_takes() {
    let root = cli::command();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        let help = startjobs(&[name, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{name}");
        if command.has_subcommands() {
            continue;
        }
        let text = String::from_utf8(help.stdout).expect("text");
        assert!(text.starts_with("Examples:\n  startjobs "), "{name}: {text}");
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
