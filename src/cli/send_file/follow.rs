//! The outcomes of what was sent.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::cli::output;
use crate::cli::process::Stops;
use crate::lobby::client::{Lobby, Outcome};
use crate::ops::printable::printable;

/// Jobs that are followed at most: their ids are in memory.
pub(super) const FOLLOWED_MAX: usize = 100_000;
/// Between two attempts to read the results while Redis does not answer.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How it is printed.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Form {
    /// One id, or one outcome, a line.
    Plain,
    /// One object a line.
    Json {
        /// The object of a job and its outcome.
        object: fn(&str, Option<&Outcome>) -> String,
    },
}

/// What came of what was sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// Successes.
    pub(super) succeeded: usize,
    /// Failures.
    pub(super) failed: usize,
    /// Jobs without an outcome so far.
    pub(super) open: usize,
    /// A signal has ended it: the exit code.
    pub(super) stopped: Option<u8>,
}

/// Jobs whose outcomes are waited for.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// By their ids: on which line each stood.
    open: HashMap<String, u64>,
    ends: Ends,
    has_said: bool,
}

impl Followed {
    /// One more.
    pub(super) fn add(&mut self, id: &str, line: u64) {
        self.open.insert(id.to_owned(), line);
    }

    /// May one more be followed?
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= FOLLOWED_MAX
    }

    /// Prints outcomes as they come, until all are there, the time is over, or a signal ends it.
    pub(super) async fn follow(
        mut self,
        lobby: &Lobby,
        from: String,
        stops: &mut Stops,
        (within, form): (Duration, Form),
    ) -> Ends {
        let until = Instant::now() + within;
        // What is still open then is told below.
        let stopped = tokio::select! {
            _ = timeout_at(until, self.read(lobby, from, form)) => None,
            code = stops.next() => Some(code),
        };
        self.ends.stopped = stopped;
        if let Form::Json { object, .. } = form {
            let mut left: Vec<_> = self.open.iter().collect();
            left.sort_by_key(|(_, line)| **line);
            output::print(&left.into_iter().map(|(id, _)| object(id, None)).collect::<String>());
        }
        self.ends.open = self.open.len();
        self.ends
    }

    async fn read(&mut self, lobby: &Lobby, mut seen: String, form: Form) {
        while !self.open.is_empty() {
            let outcomes = match lobby.outcomes_after(&seen).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    if !std::mem::replace(&mut self.has_said, true) {
                        let text = printable(&error.to_string());
                        output::note(&format!(
                            "the jobs are in the stream, but the results cannot be read: {text}; still trying"
                        ));
                    }
                    sleep(READ_AGAIN_AFTER).await;
                    continue;
                }
            };
            let mut text = String::new();
            for outcome in outcomes {
                seen.clone_from(&outcome.id);
                self.take(&outcome, form, &mut text);
            }
            output::print(&text);
        }
    }

    fn take(&mut self, outcome: &Outcome, form: Form, text: &mut String) {
        let Some(source) = &outcome.source_ref else {
            if !std::mem::replace(&mut self.has_said, true) {
                output::note("outcomes carry no source_ref (outcome-fields is original): they cannot be told apart");
            }
            return;
        };
        if self.open.remove(source).is_none() {
            return;
        }
        let is_success = outcome.outcome == "success";
        *(if is_success { &mut self.ends.succeeded } else { &mut self.ends.failed }) += 1;
        match form {
            Form::Json { object, .. } => *text += &object(source, Some(outcome)),
            Form::Plain => {
                let line = format!("{source}  {}  {}", printable(&outcome.outcome), printable(&outcome.error_code));
                // Writing to a String cannot fail.
                _ = writeln!(text, "{}", line.trim_end());
            }
        }
    }
}
