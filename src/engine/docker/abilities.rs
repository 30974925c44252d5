//! What an engine says of itself that a create depends on. Asked once for each connection.

use bollard::models::SystemInfo;

use super::classify::{Call, Failure, classify};
use crate::engine::EngineError;

/// A log driver that bounds what it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogDriver {
    /// `json-file`
    JsonFile,
    /// `local`
    Local,
}

impl LogDriver {
    /// The driver of this name; none where that does not rotate.
    fn of(name: &str) -> Option<Self> {
        [Self::JsonFile, Self::Local].into_iter().find(|driver| driver.name() == name)
    }

    /// What the engine calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
        }
    }
}

/// What an engine can do. The default is what is assumed of one that does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Its own driver, where that takes options that bound a log.
    pub(super) log_driver: Option<LogDriver>,
    /// How many processors it has; none where it does not say.
    pub(super) processors: Option<u64>,
}

/// What came of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Described {
    /// It is not asked again.
    ForGood(Abilities),
    /// It did not say, and may the next time.
    NotNow,
}

impl Described {
    /// What follows from the answer. An engine that may not or cannot describe itself still gets containers, without
    /// what depends on it; one that does not answer gets none.
    pub(super) fn of(answer: Result<SystemInfo, Failure>) -> Result<Self, EngineError> {
        let failure = match answer {
            Ok(info) => return Ok(Self::ForGood(Abilities::from(info))),
            Err(failure) => failure,
        };
        match (classify(Call::Optional, &failure), failure) {
            (EngineError::Refused(words), _) => {
                tracing::warn!(
                    err = words,
                    "the engine refuses to describe itself: the logs of containers are not rotated"
                );
                Ok(Self::ForGood(Abilities::default()))
            }
            (_, Failure::Status { .. } | Failure::Garbled(_) | Failure::Stream(_)) => Ok(Self::NotNow),
            (error, Failure::Unreachable(_) | Failure::TimedOut(_) | Failure::TooLong(_)) => Err(error),
        }
    }
}

impl From<SystemInfo> for Abilities {
    fn from(info: SystemInfo) -> Self {
        Self {
            log_driver: info.logging_driver.as_deref().and_then(LogDriver::of),
            processors: info.ncpu.and_then(|count| u64::try_from(count).ok()).filter(|count| *count > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_engine_that_does_not_answer_gets_no_containers() {
        let info = |driver: &str| SystemInfo {
            logging_driver: Some(driver.to_owned()),
            ncpu: Some(2),
            ..SystemInfo::default()
        };
        for (driver, want) in [
            ("json-file", Some(LogDriver::JsonFile)),
            ("local", Some(LogDriver::Local)),
            ("journald", None),
            ("", None),
        ] {
            let want = Described::ForGood(Abilities { log_driver: want, processors: Some(2) });
            assert_eq!(Described::of(Ok(info(driver))), Ok(want), "{driver}");
        }
        let status = |status| Failure::Status { status, text: "no".to_owned() };
        assert_eq!(Described::of(Err(status(403))), Ok(Described::ForGood(Abilities::default())));
        for failure in [status(500), Failure::Garbled("{".to_owned())] {
            assert_eq!(Described::of(Err(failure)), Ok(Described::NotNow));
        }
        for failure in [Failure::Unreachable("gone".to_owned()), Failure::TimedOut("late".to_owned())] {
            assert!(Described::of(Err(failure)).is_err());
        }
    }
}
