//! Settings of every origin, for the fuzzer.

use super::file::of_text;
use super::raw::Raw;
use super::redis_url::RedisUrl;
use super::{Settings, Sources, Values};

/// The password in the URLs of the inputs.
const PASSWORD: &str = "PaSsWoRd";

/// A text as the settings file, as variables, a line each, and as the URL of Redis.
pub(crate) fn settings(text: &str) {
    let read = of_text(&Raw::default("settings.toml"), text);
    let variables = text.lines().filter_map(|line| line.split_once('='));
    // Files that a variable names would be read.
    let variables = variables.filter(|(name, _)| !name.contains("FILE") && *name != "STARTJOBS_CONFIG");
    let variables: Vec<_> =
        variables.filter(|(name, value)| !(name.is_empty() || name.contains('\0') || value.contains('\0'))).collect();
    let loaded = Settings::load(&Sources::new(Values::new(), variables));
    let problems = read.problems.iter().map(ToString::to_string).chain(loaded.err().map(|report| report.to_string()));
    for problem in problems {
        assert!(!problem.contains(&format!(":{PASSWORD}@")), "{problem}");
    }
    match RedisUrl::parse(text) {
        Ok(url) => assert!(!url.display().contains(&format!(":{PASSWORD}@")), "a password is shown"),
        Err(problem) => assert!(!problem.contains(PASSWORD), "{problem}"),
    }
}
