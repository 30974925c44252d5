//! `runtime explain`: what a container of an image would get, and why.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::policy::refused;
use crate::cli::setting_flags::{self, PolicyFile};
use crate::cli::{exit, output};
use crate::contract::error_code::ErrorCode;
use crate::contract::image_ref::ImageRef;
use crate::ops::printable::{json_pretty, printable};
use crate::policy::Policy;
use crate::policy::explain::{AppliedRule, Explained, Row, Section};
use crate::policy::file::load;
use crate::settings::flags::SettingFlags;

/// The version of the JSON form.
const SCHEMA_VERSION: u32 = 1;

/// Explains what the policy of these settings says of an image.
pub(super) fn run(image: &ImageRef, settings: SettingFlags<PolicyFile>, as_json: bool) -> ExitCode {
    let settings = match setting_flags::load(settings) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let file = settings.policy.file;
    let policy = match file.as_deref().map(load) {
        None => Policy::default(),
        Some(Ok(loaded)) => loaded.read.policy,
        Some(Err(error)) => {
            let file = file.as_deref().unwrap_or_default();
            output::complain(&refused(file, &error), &format!("startjobs config policy check {file}"));
            return ExitCode::from(exit::CONFIG);
        }
    };
    let explained = policy.explain(image);
    let is_allowed = explained.refusal.is_none();
    output::print(&if as_json { json(image, file, explained) } else { text(image, file.as_deref(), &explained) });
    ExitCode::from(if is_allowed { exit::DONE } else { exit::FAILED })
}

#[derive(Serialize)]
struct Shown {
    schema_version: u32,
    image: String,
    policy_file: Option<String>,
    allowed: bool,
    error_code: Option<&'static str>,
    error_message: Option<String>,
    allowed_by: Option<String>,
    rule: Option<AppliedRule>,
    gets: Vec<Row>,
}

fn json(image: &ImageRef, policy_file: Option<String>, explained: Explained) -> String {
    let Explained { refusal, allowed_by, rule, rows } = explained;
    json_pretty(&Shown {
        schema_version: SCHEMA_VERSION,
        image: image.as_str().to_owned(),
        policy_file,
        allowed: refusal.is_none(),
        error_code: refusal.as_ref().map(|_| ErrorCode::ImageNotAllowed.as_str()),
        error_message: refusal,
        allowed_by,
        rule,
        gets: rows,
    })
}

fn text(image: &ImageRef, file: Option<&str>, explained: &Explained) -> String {
    let image = image.as_str();
    let Some(file) = file else {
        return format!("{image} may run: there is no policy file\n\n{}", rows(&explained.rows));
    };
    let file = printable(file);
    if let Some(refusal) = &explained.refusal {
        return format!("{image} is refused by {file} with {}:\n{}\n", ErrorCode::ImageNotAllowed, printable(refusal));
    }
    let mut text = match &explained.allowed_by {
        Some(pattern) => format!("{image} may run: allowed-images of {file} has \"{pattern}\"\n"),
        None => format!("{image} may run: {file} has no allowed-images\n"),
    };
    // Writing to a String cannot fail.
    _ = match &explained.rule {
        Some(rule) => writeln!(text, "the [[image]] in line {} applies: match {}", rule.line, rule.patterns.join(", ")),
        None => writeln!(text, "no [[image]] applies"),
    };
    format!("{text}\n{}", rows(&explained.rows))
}

fn rows(rows: &[Row]) -> String {
    let cells: Vec<[String; 3]> =
        rows.iter().map(|row| [printable(&row.key), printable(&row.value), from(row)]).collect();
    output::table(["key", "value", "from"], &cells)
}

fn from(row: &Row) -> String {
    let section = match row.from {
        Section::BuiltIn => "built in",
        Section::Defaults => "[defaults]",
        Section::Image => "[[image]]",
    };
    row.line.map_or_else(|| section.to_owned(), |line| format!("{section}, line {line}"))
}
