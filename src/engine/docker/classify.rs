//! What a failed call means: the status first, the engine's words second, and what is unknown may pass.
//!
//! The words were measured on Docker Engine 20.10.24; newer engines word some of them differently (`failure_texts`), so
//! only short, stable pieces are looked for. A registry's words arrive through the engine's, hence the order in [`pull`].

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
    /// Make or list volumes, or subscribe to events, which a proxy before the engine may not allow.
    Optional,
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
    /// An answer with more bytes than this process is ready to hold.
    TooLong(String),
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
            | Self::Garbled(text)
            | Self::TooLong(text) => text,
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
        (Failure::TooLong(_), Call::Pull) => ErrorCode::ImagePullFailed,
        // An engine whose answers never end is of as little use as one that does not answer.
        (Failure::Unreachable(_) | Failure::TimedOut(_) | Failure::TooLong(_), _) => ErrorCode::EngineUnavailable,
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
        // The host's own trouble, whatever the status and the words around it say of the container.
        (Failure::Status { .. }, Call::Create | Call::Start) if words.contains("no space left on device") => {
            ErrorCode::EngineUnavailable
        }
        (Failure::Status { status, .. }, Call::Create) => match status {
            409 => return EngineError::NameTaken,
            404 if words.contains("no such image") => return EngineError::ImageMissing,
            404 if is_missing_network(&words) => ErrorCode::NetworkNotFound,
            400 if is_bad_reference(&words) => ErrorCode::InvalidImageRef,
            400 => ErrorCode::ContainerConfigInvalid,
            _ if blames_image(&words) || blames_configuration(&words) => ErrorCode::ContainerConfigInvalid,
            _ => unknown(*status),
        },
        (Failure::Status { status, .. }, Call::Start) => match status {
            404 if words.contains("no such container") => return EngineError::NoSuchContainer,
            404 if is_missing_network(&words) => ErrorCode::NetworkNotFound,
            409 if words.contains("marked for removal") => return EngineError::NoSuchContainer,
            _ if blames_configuration(&words) => ErrorCode::ContainerConfigInvalid,
            400 => ErrorCode::ContainerStartFailed,
            _ if blames_image(&words) => ErrorCode::ContainerStartFailed,
            _ if is_port_taken(&words) => ErrorCode::HostPortUnavailable,
            _ => unknown(*status),
        },
        (Failure::Status { status: 403 | 404 | 405 | 501, .. }, Call::Optional) => {
            return EngineError::Refused(failure.message());
        }
        (Failure::Status { status, .. }, Call::Other | Call::Optional) => unknown(*status),
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
    } else if status == Some(429)
        || words.starts_with("toomanyrequests")
        || any(&["toomanyrequests: ", "too many requests", "pull rate limit"])
    {
        ErrorCode::ImagePullRateLimited
    } else if any(&["dial tcp", "no such host", "i/o timeout", "handshake timeout", "unexpected http status: 5"]) {
        ErrorCode::ImagePullFailed
    } else if matches!(status, Some(401 | 403))
        || any(&["access denied", "unauthorized: ", "denied: ", "401 unauthorized", "403 forbidden"])
        || any(&["no basic auth credentials", "authentication required", "access to the resource is denied"])
    {
        ErrorCode::ImageAccessDenied
    } else if is_missing_image(status, words) {
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

/// Whether the registry does not have the image. A bare 404 may come from something that is no engine.
fn is_missing_image(status: Option<u16>, words: &str) -> bool {
    let of_tag_or_name = ["manifest for ", "repository "].iter().any(|begins| words.starts_with(begins));
    ["manifest unknown", "name unknown", "name not known to registry", "no matching manifest"]
        .iter()
        .any(|needle| words.contains(needle))
        || status == Some(404) && of_tag_or_name && words.contains(" not found")
        || words.contains("failed to resolve reference") && words.ends_with(": not found")
}

fn is_missing_network(words: &str) -> bool {
    words.contains("network ") && words.contains("not found")
}

/// What only another image can help against. Without the words about the container's process, words about files may be
/// about the engine's own: its shim, its proxy, its data.
fn blames_image(words: &str) -> bool {
    let any = |needles: &[&str]| needles.iter().any(|needle| words.contains(needle));
    let is_about_process = any(&[
        "unable to start container process: exec:",
        "unable to start container process: chdir to cwd",
        "error during container init: exec:",
        "error during container init: chdir to cwd",
        "starting container process caused",
        "crun: ",
    ]);
    let is_about_its_file = any(&[
        "executable file not found",
        "no such file or directory",
        "permission denied",
        "exec format error",
        "is a directory",
        "not a directory",
    ]);
    is_about_process && is_about_its_file
        || any(&["unable to find user", "no matching entries in passwd file", "no matching entries in group file"])
        || any(&["unable to find group", "uids and gids must be in range"])
        // A working directory or a volume where the image has a file.
        || any(&["not a directory", "cannot mount volume over existing file"])
        || any(&["executable file `", "attempted to invoke a command that was not found"])
}

/// What the engine refuses of the container's own settings as late as at its start.
fn blames_configuration(words: &str) -> bool {
    [
        "could not select device driver",
        "error gathering device information",
        "wrong rlimit value",
        "error setting rlimit",
        "is not in a separate kernel namespace",
        "invalid tmpfs option",
        "invalid --security-opt",
    ]
    .iter()
    .any(|needle| words.contains(needle))
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
            EngineError::Refused(_) => "Refused",
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
                (500, "toomanyrequests", "image_pull_rate_limited"),
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
                (404, "repository 127.0.0.1:5000/x not found: does not exist or no pull access", "image_not_found"),
                (404, "page not found", "image_pull_failed"),
                (404, "<html>404 page not found</html>", "image_pull_failed"),
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
                (400, "Unknown runtime specified nope", "container_config_invalid"),
                (
                    400,
                    "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
                    "container_config_invalid",
                ),
                (400, "invalid CapAdd: unknown capability: \"CAP_NOPE\"", "container_config_invalid"),
                (400, "unknown log opt 'max-size' for journald log driver", "container_config_invalid"),
                (
                    400,
                    "invalid mount config for type \"bind\": bind source path does not exist: /no/such",
                    "container_config_invalid",
                ),
                (404, "network nope not found", "network_not_found"),
                (400, "invalid reference format", "invalid_image_ref"),
                (500, "no space left on device", "engine_unavailable"),
                (400, "mkdir /data/overlay2/7: no space left on device", "engine_unavailable"),
                (500, "lstat /d/overlay2/7/merged/program/x: not a directory", "container_config_invalid"),
                (500, "Cannot mkdir: /program is not a directory", "container_config_invalid"),
                (500, "cannot mount volume over existing file, file exists /d/merged/x", "container_config_invalid"),
                (500, "invalid --security-opt 2: \"nope=1\"", "container_config_invalid"),
                (500, "something new", "engine_unavailable"),
            ],
        );
    }

    #[test]
    fn a_start_that_only_another_image_or_configuration_can_help() {
        let process = |words: &str| {
            format!(
                "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container \
                 process: {words}: unknown"
            )
        };
        let of_image = [
            "unable to find user nosuch: no matching entries in passwd file".to_owned(),
            "unable to find group nosuch: no matching entries in group file".to_owned(),
            "uids and gids must be in range 0-2147483647".to_owned(),
            process("exec: \"/nope\": stat /nope: no such file or directory"),
            process("exec: \"nope\": executable file not found in $PATH"),
            process("exec: \"/plain\": permission denied"),
            process("exec: \"/text\": exec format error"),
            process("chdir to cwd (\"/x\") set in config.json failed: permission denied"),
            "OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \"nope\": \
             executable file not found in $PATH: unknown"
                .to_owned(),
            "crun: executable file `nope` not found in $PATH: No such file or directory: OCI runtime attempted to \
             invoke a command that was not found"
                .to_owned(),
        ];
        let of_configuration = [
            "could not select device driver \"\" with capabilities: [[gpu]]".to_owned(),
            "error gathering device information while adding custom device \"/dev/nope\": no such file or directory"
                .to_owned(),
            "OCI runtime create failed: runc create failed: wrong rlimit value: RLIMIT_NOPE: unknown".to_owned(),
            "runc create failed: sysctl \"nope.nope\" is not in a separate kernel namespace: unknown".to_owned(),
            "invalid tmpfs option [\"nope\"]".to_owned(),
            process(
                "error during container init: error setting rlimits for ready process: error setting rlimit type 7: operation not permitted",
            ),
        ];
        let of_host = [
            process("error during container init: open /proc/x: no space left on device"),
            process("can't get final child's PID from pipe: EOF"),
            "failed to start shim: fork/exec /usr/bin/containerd-shim-runc-v2: no such file or directory: unknown"
                .to_owned(),
            "failed to start shim: exec: \"containerd-shim-runc-v2\": executable file not found in $PATH: unknown"
                .to_owned(),
            "OCI runtime create failed: unable to retrieve OCI runtime error (open /run/x/log.json: no such file or \
             directory): runc did not terminate successfully: exit status 127: unknown"
                .to_owned(),
        ];
        for status in [400, 404, 500] {
            for (texts, want) in
                [(&of_image[..], "container_start_failed"), (&of_configuration[..], "container_config_invalid")]
            {
                for text in texts {
                    check(Call::Start, &[(status, text, want)]);
                }
            }
        }
        for text in &of_host {
            check(Call::Start, &[(500, text, "engine_unavailable")]);
        }
        check(Call::Start, &[(400, &of_host[0], "engine_unavailable")]);
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
    fn calls_that_are_not_allowed() {
        check(
            Call::Optional,
            &[
                (403, "<html><body><h1>403 Forbidden</h1>", "Refused"),
                (404, "page not found", "Refused"),
                (405, "", "Refused"),
                (501, "not implemented", "Refused"),
                (409, "a volume named x already exists with the nfs driver", "internal_error"),
                (500, "no space left on device", "engine_unavailable"),
            ],
        );
        let named = classify(Call::Optional, &Failure::Status { status: 403, text: "no volumes here".into() });
        assert_eq!(named.to_string(), "the engine refuses the call: no volumes here");
    }

    #[test]
    fn an_engine_that_does_not_answer() {
        for call in [Call::Other, Call::InspectImage, Call::Pull, Call::Create, Call::Start, Call::Optional] {
            let error = classify(call, &Failure::Unreachable("connection refused".into()));
            assert_eq!(seen(&error), "engine_unavailable", "{call:?}");
            let want = if call == Call::Pull { "image_pull_timeout" } else { "engine_unavailable" };
            assert_eq!(seen(&classify(call, &Failure::TimedOut("late".into()))), want, "{call:?}");
            assert_eq!(seen(&classify(call, &Failure::Garbled("{".into()))), "internal_error", "{call:?}");
            let want = if call == Call::Pull { "image_pull_failed" } else { "engine_unavailable" };
            assert_eq!(seen(&classify(call, &Failure::TooLong("endless".into()))), want, "{call:?}");
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
