//! The policy file: checked, explained, obeyed, and read again when it changes.

// the commands that look at a policy, without a fleet
mod commands;
// a fleet that follows one
mod replicas;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A value that no output, log or error may show.
const SECRET: &str = "open-sesame";

/// Writes a file and answers its path.
fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).expect("a file");
    path
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in ASCII")
}

/// Runs a command with nothing of this environment; nothing that it says may show the secret.
fn startjobs(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the binary under test runs");
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    assert!(!String::from_utf8_lossy(&said).contains(SECRET), "{arguments:?} shows a secret: {output:?}");
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}
