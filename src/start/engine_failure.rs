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

/// At a step whose failure may be the job's answer: the answer where the code is permanent, else tried again. A container that
/// cannot be started because the host's disk is full, or because the host lacks what the policy names, says nothing about the
/// job: no job can ask for these.
pub(super) fn answer_or_try_again(error: EngineError) -> Result<Answer, StartError> {
    match error {
        EngineError::Failed { code: ErrorCode::ContainerStartFailed, message } if is_full(&message) => {
            Err(StartError::Engine { code: ErrorCode::EngineUnavailable, message })
        }
        EngineError::Failed { code: code @ ErrorCode::ContainerConfigInvalid, message } if host_lacks(&message) => {
            Err(StartError::Engine { code, message })
        }
        EngineError::Failed { code, message } if code.class() == Class::Permanent => Ok(Answer::failure(code, message)),
        other => Err(try_again(other)),
    }
}

/// A folder of the host, a runtime or a device that the policy names and the host does not have.
fn host_lacks(message: &str) -> bool {
    const WORDS: [&str; 5] = [
        "bind source path does not exist",
        "unknown runtime specified",
        "unknown or invalid runtime name",
        "could not select device driver",
        "error gathering device information",
    ];
    let words = message.to_ascii_lowercase();
    WORDS.iter().any(|needle| words.contains(needle))
}

fn is_full(message: &str) -> bool {
    message.to_ascii_lowercase().contains("no space left on device")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_lacks_is_tried_again_and_what_the_policy_has_wrong_is_the_answer() {
        use ErrorCode::{ContainerConfigInvalid, ContainerStartFailed, NetworkNotFound};
        let rows = [
            (NetworkNotFound, "network games not found", true),
            (
                ContainerConfigInvalid,
                "invalid mount config for type \"bind\": bind source path does not exist: /maps",
                true,
            ),
            (ContainerConfigInvalid, "Unknown runtime specified runsc", true),
            (ContainerConfigInvalid, "unknown or invalid runtime name: runsc", true),
            (ContainerConfigInvalid, "could not select device driver \"\" with capabilities: [[gpu]]", true),
            (ContainerConfigInvalid, "Minimum memory limit allowed is 6MB", false),
            (ContainerStartFailed, "exec: \"could not select device driver\"", false),
        ];
        for (code, words, is_hosts) in rows {
            let failed = EngineError::Failed { code, message: words.to_owned() };
            let expected = if is_hosts {
                Err(StartError::Engine { code, message: words.to_owned() })
            } else {
                Ok(Answer::failure(code, words.to_owned()))
            };
            assert_eq!(answer_or_try_again(failed), expected, "{words}");
        }
    }
}
