//! Settings: where they come from, what is refused and how that is told, and that no password is ever shown.

// the binary, from outside
mod command;
// the table, the spec and the documentation agree
mod documented;
// values and sources that are refused
mod refused;
// passwords
mod secrets;
// precedence, defaults and forms
mod sources;

use std::fs;

use startjobs::settings::{Loaded, Problem, Report, Settings, Sources, Values};
use tempfile::TempDir;

type Pairs<'a> = &'a [(&'static str, &'a str)];

fn load(flags: Pairs<'_>, environment: Pairs<'_>) -> Result<Loaded, Report> {
    Settings::load(&sources(flags, environment))
}

fn sources(flags: Pairs<'_>, environment: Pairs<'_>) -> Sources {
    let flags: Values = flags.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    Sources::new(flags, environment.iter().copied())
}

fn good(flags: Pairs<'_>, environment: Pairs<'_>) -> Loaded {
    match load(flags, environment) {
        Ok(loaded) => loaded,
        Err(report) => panic!("{flags:?} {environment:?} should be fine: {report}"),
    }
}

fn problems(flags: Pairs<'_>, environment: Pairs<'_>) -> Vec<Problem> {
    match load(flags, environment) {
        Ok(_) => panic!("{flags:?} {environment:?} should be refused"),
        Err(report) => report.problems().to_vec(),
    }
}

/// Value and origin as `config show --origin` prints them.
fn shown(loaded: &Loaded, name: &str) -> (String, String) {
    let setting = loaded.resolved.iter().find(|setting| setting.name == name);
    let setting = setting.expect("every setting is resolved");
    (setting.value.clone(), setting.origin.to_string())
}

/// A directory with one file in it, and the file's path.
fn file(contents: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("startjobs.toml");
    fs::write(&path, contents).expect("a file can be written there");
    let path = path.to_str().expect("temporary paths are UTF-8").to_owned();
    (directory, path)
}
