//! What the commands of operators share: their flags, a bounded connection, tables and colours.

use std::io::IsTerminal;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};

use super::{common, exit};
use crate::ops::View;
use crate::ops::alerts::rules::REDIS_DOWN;
use crate::ops::connect::{connect, within};
pub(super) use crate::ops::printable::json;
use crate::ops::printable::printable;
use crate::redis::{Kind, RedisError};
use crate::settings::table::Group;
use crate::settings::{Settings, flags};

/// The settings that looking at a fleet needs.
const NEEDED: &[&str] = &[
    "config",
    "redis-url",
    "redis-password-file",
    "jobs-stream",
    "results-stream",
    "dead-stream",
    "group",
    "offset-key",
    "claim-idle",
    "record-prefix",
];

/// What follows every command's own flags.
pub(super) fn args() -> Vec<Arg> {
    let settings = flags::args(&[Group::Redis, Group::Streams, Group::Worker, Group::Engine]);
    let needed = settings.into_iter().filter(|arg| NEEDED.contains(&arg.get_id().as_str()));
    [timeout()].into_iter().chain(needed).collect()
}

/// `--timeout`
pub(super) fn timeout() -> Arg {
    Arg::new("timeout")
        .long("timeout")
        .value_name("DURATION")
        .default_value("5s")
        .value_parser(humantime::parse_duration)
        .help("How long connecting, and then each answer, may take")
}

/// `--json`
pub(super) fn json_flag() -> Arg {
    switch("json", "Print JSON")
}

/// A flag without a value.
pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// A flag that takes a duration.
pub(super) fn duration(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("DURATION").value_parser(humantime::parse_duration).help(help)
}

/// A fleet to look at, with a limit for every answer.
pub(super) struct Session {
    pub(super) view: View,
    limit: Duration,
    url: String,
}

impl Session {
    /// Loads the settings and runs the command on a connection.
    pub(super) fn run(matches: &ArgMatches, command: impl AsyncFnOnce(&Self) -> u8) -> ExitCode {
        let settings = match common::settings(&common::sources(matches)) {
            Ok(settings) => settings,
            Err(code) => return code,
        };
        let limit = limit(matches);
        common::block_on(async move {
            match Self::open(&settings, limit).await {
                Ok(session) => command(&session).await,
                Err(error) => unavailable(&settings.redis.display_url, &error),
            }
        })
    }

    /// Connects.
    pub(super) async fn open(settings: &Settings, limit: Duration) -> Result<Self, RedisError> {
        let url = settings.redis.display_url.clone();
        let say =
            || eprintln!("startjobs: waiting for Redis at {url}, for at most {}", humantime::format_duration(limit));
        let connection = connect(&settings.redis, "startjobs:ops", limit, say).await?;
        Ok(Self { view: View::new(Arc::new(connection), settings), limit, url })
    }

    /// Bounds a question. Boxed, because some questions are large and every command would be with them.
    pub(super) fn ask<'a, T>(
        &self,
        question: impl Future<Output = Result<T, RedisError>> + 'a,
    ) -> Pin<Box<dyn Future<Output = Result<T, RedisError>> + 'a>>
    where
        T: 'a,
    {
        Box::pin(within(self.limit, question))
    }

    /// Says that there is no answer; the exit code that follows.
    pub(super) fn failed(&self, error: &RedisError) -> u8 {
        unavailable(&self.url, error)
    }
}

/// The value of `--timeout`.
pub(super) fn limit(matches: &ArgMatches) -> Duration {
    matches.get_one::<Duration>("timeout").copied().unwrap_or(Duration::from_secs(5))
}

fn unavailable(url: &str, error: &RedisError) -> u8 {
    eprintln!("startjobs: Redis at {url}: {}", printable(&error.text));
    if error.kind == Kind::Unreachable {
        let (name, runbook) = (REDIS_DOWN.name, REDIS_DOWN.runbook());
        eprintln!("  where replicas do not reach it either, the alert {name} fires: {runbook}");
    }
    exit::UNAVAILABLE
}

/// Rows under headings, in columns; foreign text must have been escaped before.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(str::to_uppercase);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&headings[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    [&headings].into_iter().chain(rows).map(line).collect()
}

/// The colours that mean something.
#[derive(Debug, Clone, Copy)]
pub(super) enum Colour {
    Green,
    Yellow,
    Red,
}

/// Colours a text where a person looks at it and has not asked for none.
pub(super) fn paint(text: &str, colour: Colour) -> String {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if no_colour || !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Red => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// The text, or a dash where there is none.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}
