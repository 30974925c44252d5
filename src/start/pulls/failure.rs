//! Why there is no image, and what that means for the job.

use std::time::Duration;

use crate::contract::error_code::ErrorCode;
use crate::engine::EngineError;
use crate::start::StartError;
use crate::start::engine_failure::try_again;

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::start) enum PullError {
    /// The engine or the registry failed.
    Engine(EngineError),
    /// The registry wants to be left alone.
    Limited {
        /// Its words, as the engine heard them.
        message: String,
        /// For how long.
        wait: Duration,
        /// It said so just now; else it was not asked.
        is_new: bool,
    },
}

impl From<EngineError> for PullError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl PullError {
    /// An error that only a mistake of this program can cause.
    pub(super) fn bug(message: &str) -> Self {
        Self::Engine(EngineError::failed(ErrorCode::InternalError, message))
    }
}

impl From<PullError> for StartError {
    fn from(error: PullError) -> Self {
        match error {
            PullError::Engine(error) => try_again(error),
            PullError::Limited { message, wait, is_new } => {
                let code = ErrorCode::ImagePullRateLimited;
                Self::NotBefore { code, message, after: wait, is_counted: is_new }
            }
        }
    }
}
