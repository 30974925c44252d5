//! What a failed engine call means for the job: try again, or answer it with the failure.

use super::StartError;
use crate::contract::error_code::{Class, ErrorCode};
use crate::contract::job_result::Answer;
use crate::engine::EngineError;
use crate::redis::{Kind, RedisError};

/// At a step that decides nothing about the game: tried again, whatever the code.
pub(super) fn try_again(error: EngineError) -> StartError {
    match error {
        EngineError::Failed { code: ErrorCode::StateStoreUnavailable, message } => {
            StartError::Store(RedisError { kind: Kind::Unreachable, text: message })
        }
        EngineError::Failed { code, message } if code.class() == Class::Retryable => {
            StartError::Engine { code, message }
        }
        other => StartError::Engine { code: ErrorCode::InternalError, message: other.to_string() },
    }
}

/// At a step whose failure may be the job's answer: the answer where the code is permanent, else tried again.
pub(super) fn answer_or_try_again(error: EngineError) -> Result<Answer, StartError> {
    match error {
        EngineError::Failed { code, message } if code.class() == Class::Permanent => Ok(Answer::failure(code, message)),
        other => Err(try_again(other)),
    }
}
