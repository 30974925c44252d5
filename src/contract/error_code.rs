//! The stable `error_code` values of an outcome, and which of them are decided answers.

use std::fmt;

/// Why a start failed. The text form is part of the wire contract and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The game id cannot name a container.
    InvalidGameId,
    /// The image reference does not parse, or the engine refuses it.
    InvalidImageRef,
    /// The game already runs another image.
    ImageConflict,
    /// The policy does not allow the image.
    ImageNotAllowed,
    /// The registry does not have the image.
    ImageNotFound,
    /// The registry refuses us the image.
    ImageAccessDenied,
    /// The registry asks us to slow down.
    ImagePullRateLimited,
    /// The pull broke for a reason that may pass.
    ImagePullFailed,
    /// The pull exceeded its own limits.
    ImagePullTimeout,
    /// The engine refuses the container's configuration.
    ContainerConfigInvalid,
    /// A container that is not ours has the game's container name.
    ContainerNameConflict,
    /// The engine says the name is taken, but shows no such container.
    ContainerNameStuck,
    /// The container was created but its entry point cannot be started.
    ContainerStartFailed,
    /// The engine does not know the network that the policy names: the host's fault, not the job's.
    NetworkNotFound,
    /// The published port is taken.
    HostPortUnavailable,
    /// The host runs as many games as its policy allows. Never published: the job waits for room.
    HostFull,
    /// The game engine exited before it was ready.
    EngineExited,
    /// The game engine runs but did not become ready in time.
    EngineNotReady,
    /// The container engine does not answer or failed inside.
    EngineUnavailable,
    /// The engine of the host that the game's record names cannot be reached from here.
    HostUnavailable,
    /// Another attempt for this game is in progress.
    StartInProgress,
    /// Redis did not answer or refused.
    StateStoreUnavailable,
    /// An operator stopped the game after the job had been appended.
    GameStopped,
    /// An operator cancelled the job before it had started.
    Cancelled,
    /// The job was older than its limit before it could be started.
    StartDeadlineExceeded,
    /// The entry is too large to be read within its limits; only the fields of the job were.
    JobTooLarge,
    /// The job's process died too often while it ran.
    Poison,
    /// A permanent failure of the simulated engine (`simulated-failures`).
    SimulatedFailure,
    /// A passing failure of the simulated engine (`simulated-errors`, `sim/retry`).
    SimulatedError,
    /// A bug, or an answer of the engine without a code of its own.
    InternalError,
}

/// Whether a failure is an answer about the game or only says that we could not find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Decided: published as a `failure` outcome at once.
    Permanent,
    /// Not decided: the entry stays pending and is tried again until its budget is spent.
    Retryable,
}

impl ErrorCode {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 30] = [
        Self::InvalidGameId,
        Self::InvalidImageRef,
        Self::ImageConflict,
        Self::ImageNotAllowed,
        Self::ImageNotFound,
        Self::ImageAccessDenied,
        Self::ImagePullRateLimited,
        Self::ImagePullFailed,
        Self::ImagePullTimeout,
        Self::ContainerConfigInvalid,
        Self::ContainerNameConflict,
        Self::ContainerNameStuck,
        Self::ContainerStartFailed,
        Self::NetworkNotFound,
        Self::HostPortUnavailable,
        Self::HostFull,
        Self::EngineExited,
        Self::EngineNotReady,
        Self::EngineUnavailable,
        Self::HostUnavailable,
        Self::StartInProgress,
        Self::StateStoreUnavailable,
        Self::GameStopped,
        Self::Cancelled,
        Self::StartDeadlineExceeded,
        Self::JobTooLarge,
        Self::Poison,
        Self::SimulatedFailure,
        Self::SimulatedError,
        Self::InternalError,
    ];

    /// The value of the `error_code` field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidGameId => "invalid_game_id",
            Self::InvalidImageRef => "invalid_image_ref",
            Self::ImageConflict => "image_conflict",
            Self::ImageNotAllowed => "image_not_allowed",
            Self::ImageNotFound => "image_not_found",
            Self::ImageAccessDenied => "image_access_denied",
            Self::ImagePullRateLimited => "image_pull_rate_limited",
            Self::ImagePullFailed => "image_pull_failed",
            Self::ImagePullTimeout => "image_pull_timeout",
            Self::ContainerConfigInvalid => "container_config_invalid",
            Self::ContainerNameConflict => "container_name_conflict",
            Self::ContainerNameStuck => "container_name_stuck",
            Self::ContainerStartFailed => "container_start_failed",
            Self::NetworkNotFound => "network_not_found",
            Self::HostPortUnavailable => "host_port_unavailable",
            Self::HostFull => "host_full",
            Self::EngineExited => "engine_exited",
            Self::EngineNotReady => "engine_not_ready",
            Self::EngineUnavailable => "engine_unavailable",
            Self::HostUnavailable => "host_unavailable",
            Self::StartInProgress => "start_in_progress",
            Self::StateStoreUnavailable => "state_store_unavailable",
            Self::GameStopped => "game_stopped",
            Self::Cancelled => "cancelled",
            Self::StartDeadlineExceeded => "start_deadline_exceeded",
            Self::JobTooLarge => "job_too_large",
            Self::Poison => "poison",
            Self::SimulatedFailure => "simulated_failure",
            Self::SimulatedError => "simulated_error",
            Self::InternalError => "internal_error",
        }
    }

    /// Decided answer or open question.
    pub fn class(self) -> Class {
        match self {
            Self::InvalidGameId
            | Self::InvalidImageRef
            | Self::ImageConflict
            | Self::ImageNotAllowed
            | Self::ImageNotFound
            | Self::ImageAccessDenied
            | Self::ContainerConfigInvalid
            | Self::ContainerNameConflict
            | Self::ContainerStartFailed
            | Self::EngineExited
            | Self::EngineNotReady
            | Self::GameStopped
            | Self::Cancelled
            | Self::StartDeadlineExceeded
            | Self::JobTooLarge
            | Self::Poison
            | Self::SimulatedFailure => Class::Permanent,
            Self::ImagePullRateLimited
            | Self::ImagePullFailed
            | Self::ImagePullTimeout
            | Self::ContainerNameStuck
            | Self::NetworkNotFound
            | Self::HostPortUnavailable
            | Self::HostFull
            | Self::EngineUnavailable
            | Self::HostUnavailable
            | Self::StartInProgress
            | Self::StateStoreUnavailable
            | Self::SimulatedError
            | Self::InternalError => Class::Retryable,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
