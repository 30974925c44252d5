//! What a failed call means: the status first, the engine's words second, and what is unknown may pass.
//!
//! The words were measured on Docker Engine 20.10.24; newer engines word some of them differently, so only short,
//! stable pieces are looked for. A registry's words arrive through the engine's, hence the order in [`pull`].

use crate::contract::error_code::ErrorCode;
use crate::engine::EngineError;

use super::text::tidy;

/// The calls whose failures differ in meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Ping, version, inspect of a container, its logs, unpause, remove: nothing about the game is decided by these.
    Other,
    /// Look for an image.
    InspectImage,
    /// Pull an image.
    Pull,
    /// Create a container.
    Create,
    /// Start a container.
    Start,
}

/// How a call failed, without the client library's types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The engine answered this status and text.
    Status {
        /// The HTTP status.
        status: u16,
        /// The engine's message.
        text: String,
    },
    /// The engine answered 200 and reported this in the stream that followed.
    Stream(String),
    /// No connection, or one that broke.
    Unreachable(String),
    /// No answer within our own limit.
    TimedOut(String),
    /// An answer that is not what the API promises.
    Garbled(String),
}

impl Failure {
    /// Whether the engine does not know the container. A bare 404 may come from something that is no engine.
    pub(super) fn is_no_such_container(&self) -> bool {
        self.is(404, "no such container")
    }

    /// Whether the engine answered this status with these words.
    pub(super) fn is(&self, wanted: u16, words: &str) -> bool {
        matches!(self, Self::Status { status, .. } if *status == wanted) && self.says(words)
    }

    /// Whether the engine's own words contain this (compared without case).
    pub(super) fn says(&self, words: &str) -> bool {
        self.text().to_ascii_lowercase().contains(words)
    }

    fn text(&self) -> &str {
        match self {
            Self::Status { text, .. }
            | Self::Stream(text)
            | Self::Unreachable(text)
            | Self::TimedOut(text)
            | Self::Garbled(text) => text,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Status { status, text } if text.trim().is_empty() => format!("the engine answered status {status}"),
            _ => tidy(self.text()),
        }
    }
}

/// The error of a failed call.
pub(super) fn classify(call: Call, failure: &Failure) -> EngineError {
    let words = failure.text().to_ascii_lowercase();
    let code = match (failure, call) {
        (Failure::TimedOut(_), Call::Pull) => ErrorCode::ImagePullTimeout,
        (Failure::Unreachable(_) | Failure::TimedOut(_), _) => ErrorCode::EngineUnavailable,
        // Every call answers this to a client the engine is too old or too new for: nothing about the game.
        (Failure::Status { status: 400, .. }, _) if words.contains("client version") => ErrorCode::EngineUnavailable,
        (Failure::Status { status, .. }, Call::Pull) => pull(Some(*status), &words),
        (Failure::Stream(_), Call::Pull) => pull(None, &words),
        (Failure::Stream(_) | Failure::Garbled(_), _) => ErrorCode::InternalError,
        (Failure::Status { status, .. }, Call::InspectImage) => match status {
            404 => return EngineError::ImageMissing,
            400 if is_bad_reference(&words) => ErrorCode::InvalidImageRef,
            _ => unknown(*status),
        },
        (Failure::Status { status, .. }, Call::Create) => match status {
            409 => return EngineError::NameTaken,
            404 if words.contains("no such image") => return EngineError::ImageMissing,
            400 if is_bad_reference(&words) => ErrorCode::InvalidImageRef,
            400 => ErrorCode::ContainerConfigInvalid,
            _ => unknown(*status),
        },
        (Failure::Status { status, .. }, Call::Start) => match status {
            404 if words.contains("no such container") => return EngineError::NoSuchContainer,
            404 if is_missing_network(&words) => ErrorCode::NetworkNotFound,
            409 if words.contains("marked for removal") => return EngineError::NoSuchContainer,
            400 => ErrorCode::ContainerStartFailed,
            _ if is_port_taken(&words) => ErrorCode::HostPortUnavailable,
            _ => unknown(*status),
        },
        (Failure::Status { status, .. }, Call::Other) => unknown(*status),
    };
    EngineError::failed(code, failure.message())
}

/// Neither is an answer about the game, so both are tried again.
fn unknown(status: u16) -> ErrorCode {
    if status >= 500 { ErrorCode::EngineUnavailable } else { ErrorCode::InternalError }
}

/// A failed pull. An image's name appears in the words, so a code of the registry protocol is looked for as
/// `code: `, which no name can contain; and a broken network is seen first, for its words quote a whole URL.
fn pull(status: Option<u16>, words: &str) -> ErrorCode {
    let any = |needles: &[&str]| needles.iter().any(|needle| words.contains(needle));
    if status == Some(400) && is_bad_reference(words) {
        ErrorCode::InvalidImageRef
    } else if status == Some(429) || any(&["toomanyrequests: ", "429 too many requests"]) {
        ErrorCode::ImagePullRateLimited
    } else if any(&["dial tcp", "no such host", "i/o timeout", "handshake timeout", "unexpected http status: 5"]) {
        ErrorCode::ImagePullFailed
    } else if matches!(status, Some(401 | 403))
        || any(&["access denied", "unauthorized: ", "denied: ", "401 unauthorized", "403 forbidden"])
        || any(&["no basic auth credentials"])
    {
        ErrorCode::ImageAccessDenied
    } else if status == Some(404) || any(&["manifest unknown", "name unknown", "no matching manifest"]) {
        ErrorCode::ImageNotFound
    } else {
        ErrorCode::ImagePullFailed
    }
}

fn is_bad_reference(words: &str) -> bool {
    ["invalid reference format", "must be lowercase", "invalid tag format", "invalid digest format"]
        .iter()
        .any(|needle| words.contains(needle))
        || words.contains("repository name must ")
        || words.contains("invalid checksum digest")
}

fn is_missing_network(words: &str) -> bool {
    words.contains("network ") && words.contains("not found")
}

fn is_port_taken(words: &str) -> bool {
    ["port is already allocated", "address already in use", "all ports are allocated", "ports are not available"]
        .iter()
        .any(|needle| words.contains(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the caller sees of an error: the variant, or the code.
    fn seen(error: &EngineError) -> &'static str {
        match error {
            EngineError::NameTaken => "NameTaken",
            EngineError::ImageMissing => "ImageMissing",
            EngineError::NoSuchContainer => "NoSuchContainer",
            EngineError::Failed { code, .. } => code.as_str(),
        }
    }

    fn check(call: Call, rows: &[(u16, &str, &str)]) {
        for (status, text, want) in rows {
            let failure = Failure::Status { status: *status, text: (*text).to_owned() };
            assert_eq!(seen(&classify(call, &failure)), *want, "{call:?} {status} {text}");
        }
    }

    #[test]
    fn pulls() {
        check(
            Call::Pull,
            &[
                (
                    404,
                    "manifest for 127.0.0.1:5000/x:1 not found: manifest unknown: manifest unknown",
                    "image_not_found",
                ),
                (404, "repository 127.0.0.1:5000/x not found: name unknown: fake 404", "image_not_found"),
                (404, "no matching manifest for linux/arm64/v8 in the manifest list entries", "image_not_found"),
                (
                    404,
                    "pull access denied for x/y, repository does not exist or may require 'docker login': denied: no",
                    "image_access_denied",
                ),
                (500, "unauthorized: fake 401", "image_access_denied"),
                (403, "", "image_access_denied"),
                (500, "toomanyrequests: You have reached your pull rate limit.", "image_pull_rate_limited"),
                (429, "", "image_pull_rate_limited"),
                (
                    500,
                    "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                    "image_pull_failed",
                ),
                (500, "Get \"https://no.example/v2/\": dial tcp: lookup no.example: no such host", "image_pull_failed"),
                (500, "received unexpected HTTP status: 503 Service Unavailable", "image_pull_failed"),
                (500, "unknown: fake 500", "image_pull_failed"),
                (400, "invalid reference format: repository name must be lowercase", "invalid_image_ref"),
                (400, "something new", "image_pull_failed"),
                (400, "client version 1.53 is too new. Maximum supported API version is 1.41", "engine_unavailable"),
                (418, "something new", "image_pull_failed"),
            ],
        );
    }

    #[test]
    fn a_name_does_not_decide_what_a_broken_network_means() {
        check(
            Call::Pull,
            &[
                (
                    500,
                    "Get \"http://h/v2/denied/manifests/401\": dial tcp 1.2.3.4:80: i/o timeout",
                    "image_pull_failed",
                ),
                (500, "Get \"http://h/v2/unauthorized/manifests/1\": EOF", "image_pull_failed"),
                (404, "manifest for h/denied:latest not found: manifest unknown", "image_not_found"),
                (404, "manifest for h/toomanyrequests:1 not found: manifest unknown", "image_not_found"),
            ],
        );
    }

    #[test]
    fn pulls_that_break_in_their_stream() {
        for (text, want) in [
            ("filesystem layer verification failed for digest sha256:00", "image_pull_failed"),
            ("unknown blob", "image_pull_failed"),
            ("toomanyrequests: slow down", "image_pull_rate_limited"),
            ("unauthorized: authentication required", "image_access_denied"),
        ] {
            assert_eq!(seen(&classify(Call::Pull, &Failure::Stream(text.into()))), want, "{text}");
        }
    }

    #[test]
    fn looks_at_images() {
        check(
            Call::InspectImage,
            &[
                (404, "no such image: x:1: No such image: x:1", "ImageMissing"),
                (
                    400,
                    "no such image: Xx: invalid reference format: repository name must be lowercase",
                    "invalid_image_ref",
                ),
                (400, "something new", "internal_error"),
                (500, "layer does not exist", "engine_unavailable"),
            ],
        );
    }

    #[test]
    fn creates() {
        check(
            Call::Create,
            &[
                (409, "Conflict. The container name \"/rtm-a\" is already in use by container \"7\".", "NameTaken"),
                (404, "No such image: x:1", "ImageMissing"),
                (404, "something new", "internal_error"),
                (400, "Minimum memory limit allowed is 6MB", "container_config_invalid"),
                (400, "No command specified", "container_config_invalid"),
                (400, "invalid reference format", "invalid_image_ref"),
                (500, "no space left on device", "engine_unavailable"),
            ],
        );
    }

    #[test]
    fn starts() {
        let runc = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start \
                    container process: exec: \"/nope\": stat /nope: no such file or directory: unknown";
        let port = "driver failed programming external connectivity on endpoint ee (edc8): Bind for 127.0.0.1:22222 \
                    failed: port is already allocated";
        check(
            Call::Start,
            &[
                (400, runc, "container_start_failed"),
                (404, "network games not found", "network_not_found"),
                (404, "No such container: 7", "NoSuchContainer"),
                (404, "something new", "internal_error"),
                (409, "container is marked for removal and cannot be started", "NoSuchContainer"),
                (409, "cannot start a paused container, try unpause instead", "internal_error"),
                (500, port, "host_port_unavailable"),
                (500, "listen tcp4 127.0.0.1:80: bind: address already in use", "host_port_unavailable"),
                (500, "something new", "engine_unavailable"),
            ],
        );
    }

    #[test]
    fn an_engine_that_does_not_answer() {
        for call in [Call::Other, Call::InspectImage, Call::Pull, Call::Create, Call::Start] {
            let error = classify(call, &Failure::Unreachable("connection refused".into()));
            assert_eq!(seen(&error), "engine_unavailable", "{call:?}");
            let want = if call == Call::Pull { "image_pull_timeout" } else { "engine_unavailable" };
            assert_eq!(seen(&classify(call, &Failure::TimedOut("late".into()))), want, "{call:?}");
            assert_eq!(seen(&classify(call, &Failure::Garbled("{".into()))), "internal_error", "{call:?}");
        }
    }

    #[test]
    fn only_an_engine_can_say_that_a_container_is_gone() {
        for (status, text, want) in [
            (404, "No such container: 7", true),
            (404, "no container with name or ID \"7\" found: no such container", true),
            (404, "404 page not found", false),
            (404, "", false),
            (500, "No such container: 7", false),
        ] {
            let failure = Failure::Status { status, text: text.to_owned() };
            assert_eq!(failure.is_no_such_container(), want, "{status} {text}");
        }
    }

    #[test]
    fn an_empty_text_still_makes_a_message() {
        let error = classify(Call::Other, &Failure::Status { status: 502, text: " ".into() });
        assert_eq!(error.to_string(), "engine_unavailable: the engine answered status 502");
    }
}
