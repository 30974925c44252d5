//! Whose fault a failed start may be.

use crate::contract::error_code::ErrorCode;
use crate::worker::handler::Blame;

/// What every call says whose writes find the disk full.
const NO_SPACE: &str = "no space left on device";
/// How the words begin of an engine that did not create or start a container in time.
const HANGS: [&str; 2] = ["no answer to create ", "no answer to start "];

/// Whose fault a failure with this code and these words may be. Only of failures that are tried again: what is permanent is the
/// job's answer.
pub(super) fn blame_of(code: ErrorCode, message: &str) -> Blame {
    let words = message.to_ascii_lowercase();
    if words.contains(NO_SPACE) {
        return Blame::Engine;
    }
    match code {
        // The last one is permanent, and tried again only where the host lacks what the policy names.
        ErrorCode::HostPortUnavailable | ErrorCode::NetworkNotFound | ErrorCode::ContainerConfigInvalid => {
            Blame::Engine
        }
        ErrorCode::EngineUnavailable if HANGS.iter().any(|begins| words.starts_with(begins)) => Blame::Engine,
        ErrorCode::EngineUnavailable | ErrorCode::ContainerNameStuck | ErrorCode::InternalError => Blame::Unclear,
        // A registry's answer or silence, which says nothing about jobs whose images are there; an answer about the job, or
        // what does not count at all.
        ErrorCode::InvalidGameId
        | ErrorCode::InvalidImageRef
        | ErrorCode::ImageConflict
        | ErrorCode::ImageNotAllowed
        | ErrorCode::ImageNotFound
        | ErrorCode::ImageAccessDenied
        | ErrorCode::ImagePullRateLimited
        | ErrorCode::ImagePullFailed
        | ErrorCode::ImagePullTimeout
        | ErrorCode::ContainerNameConflict
        | ErrorCode::ContainerStartFailed
        | ErrorCode::EngineExited
        | ErrorCode::EngineNotReady
        | ErrorCode::HostFull
        | ErrorCode::HostUnavailable
        | ErrorCode::GameStopped
        | ErrorCode::Cancelled
        | ErrorCode::StartInProgress
        | ErrorCode::StateStoreUnavailable
        | ErrorCode::StartDeadlineExceeded
        | ErrorCode::JobTooLarge
        | ErrorCode::Poison
        | ErrorCode::SimulatedFailure
        | ErrorCode::SimulatedError => Blame::Job,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_blamed_for_what_no_job_can_cause() {
        use ErrorCode::*;
        for (code, message, blame) in [
            (EngineUnavailable, "mkdir /var/lib/docker/overlay2/ab: no space left on device", Blame::Engine),
            (ImagePullFailed, "failed to register layer: write /lib/x: no space left on device", Blame::Engine),
            (InternalError, "Write /x: No space left on device", Blame::Engine),
            (HostPortUnavailable, "all ports are allocated", Blame::Engine),
            (NetworkNotFound, "network games not found", Blame::Engine),
            (ContainerConfigInvalid, "Unknown runtime specified runsc", Blame::Engine),
            (EngineUnavailable, "no answer to create within 30s", Blame::Engine),
            (EngineUnavailable, "no answer to start within 60s", Blame::Engine),
            (EngineUnavailable, "no answer to inspect of the container within 10s", Blame::Unclear),
            (EngineUnavailable, "the engine answered status 502", Blame::Unclear),
            (EngineUnavailable, "layer does not exist", Blame::Unclear),
            (ImagePullTimeout, "no answer to the pull within 600s", Blame::Job),
            (ContainerNameStuck, "the name rtm-a is taken", Blame::Unclear),
            (InternalError, "a bug", Blame::Unclear),
            (ImagePullFailed, "dial tcp: i/o timeout", Blame::Job),
            (ImagePullRateLimited, "toomanyrequests: slow down", Blame::Job),
            (HostUnavailable, "the game is placed on host \"b\"", Blame::Job),
            (SimulatedError, "simulated: sim/retry never succeeds", Blame::Job),
        ] {
            assert_eq!(blame_of(code, message), blame, "{code}: {message}");
        }
    }
}
