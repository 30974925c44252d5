//! The outcome as Lobby reads it: six fields of the original worker, then ours.

use super::error_code::ErrorCode;

/// What the start service answered about one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The game's engine runs.
    Success {
        /// The engine's container.
        container_id: String,
        /// Where it answers, `http://host:port`.
        engine_endpoint: String,
        /// Started by this job, or found running.
        kind: SuccessKind,
    },
    /// The game's engine does not run, and why.
    Failure {
        /// The stable code.
        code: String,
        /// For people; the service's text, verbatim.
        message: String,
    },
}

/// How a success came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuccessKind {
    /// This job started the container: the error code is empty.
    Started,
    /// The container was found running: the error code is `replay_no_op`.
    Replayed,
}

/// The `error_code` of an idempotent re-run.
pub(crate) const REPLAY_NO_OP: &str = "replay_no_op";

/// The field names of an outcome in wire order; `original` publishes the first six.
pub const FIELDS: [&str; 10] = [
    "game_id",
    "outcome",
    "container_id",
    "engine_endpoint",
    "error_code",
    "error_message",
    "source_ref",
    "requested_at_ms",
    "finished_at_ms",
    "attempt",
];

/// How many of [`FIELDS`] the original worker published.
pub const ORIGINAL_FIELDS: usize = 6;

/// One outcome, ready for the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobResult {
    /// The job's trimmed game id.
    pub game_id: String,
    /// What happened.
    pub answer: Answer,
    /// The job's stream entry id: what a reader correlates and de-duplicates by.
    pub source_ref: String,
    /// Echo of the job's field.
    pub requested_at_ms: i64,
    /// When the start service answered, by the worker's clock, in Unix milliseconds.
    pub finished_at_ms: u64,
    /// How often the entry had been delivered.
    pub attempt: u64,
}

impl Answer {
    /// A failure with one of the stable codes.
    pub fn failure(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Failure { code: code.as_str().to_owned(), message: message.into() }
    }

    /// `success` or `failure`.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Success { .. } => "success",
            Self::Failure { .. } => "failure",
        }
    }

    /// The `error_code` field.
    pub(crate) fn error_code(&self) -> &str {
        match self {
            Self::Success { kind: SuccessKind::Started, .. } => "",
            Self::Success { kind: SuccessKind::Replayed, .. } => REPLAY_NO_OP,
            Self::Failure { code, .. } => code,
        }
    }
}

impl JobResult {
    /// Hands the values of [`FIELDS`] to `write`, in that order.
    pub fn each_value(&self, mut write: impl FnMut(&[u8])) {
        let (container_id, engine_endpoint, message) = match &self.answer {
            Answer::Success { container_id, engine_endpoint, .. } => {
                (container_id.as_str(), engine_endpoint.as_str(), "")
            }
            Answer::Failure { message, .. } => ("", "", message.as_str()),
        };
        for text in [&self.game_id, self.answer.outcome(), container_id, engine_endpoint] {
            write(text.as_bytes());
        }
        for text in [self.answer.error_code(), message, &self.source_ref] {
            write(text.as_bytes());
        }
        write(self.requested_at_ms.to_string().as_bytes());
        write(self.finished_at_ms.to_string().as_bytes());
        write(self.attempt.to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(answer: Answer) -> Vec<String> {
        let mut values = Vec::new();
        JobResult {
            game_id: "g".into(),
            answer,
            source_ref: "5-1".into(),
            requested_at_ms: -3,
            finished_at_ms: 9,
            attempt: 2,
        }
        .each_value(|value| values.push(String::from_utf8_lossy(value).into_owned()));
        values
    }

    #[test]
    fn a_start_a_replay_and_a_failure_fill_the_fields_of_the_contract() {
        let success = |kind| Answer::Success { container_id: "c".into(), engine_endpoint: "http://h:1".into(), kind };
        assert_eq!(
            result(success(SuccessKind::Started)),
            ["g", "success", "c", "http://h:1", "", "", "5-1", "-3", "9", "2"]
        );
        assert_eq!(result(success(SuccessKind::Replayed))[4], "replay_no_op");
        assert_eq!(
            result(Answer::failure(ErrorCode::ImageNotFound, "manifest unknown")),
            ["g", "failure", "", "", "image_not_found", "manifest unknown", "5-1", "-3", "9", "2"]
        );
    }
}
