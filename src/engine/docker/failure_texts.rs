//! What newer engines, other image stores and other runtimes say, as their sources and their users' reports show it: the
//! same failures have the same codes.

use super::classify::{Call, Failure, classify};
use crate::contract::error_code::ErrorCode::{self, *};
use crate::engine::EngineError;

fn code_of(call: Call, failure: &Failure) -> Option<ErrorCode> {
    match classify(call, failure) {
        EngineError::Failed { code, .. } => Some(code),
        _ => None,
    }
}

/// In an answer of this status, and in the stream of a pull.
fn check(call: Call, status: u16, text: &str, want: ErrorCode) {
    let failure = Failure::Status { status, text: text.to_owned() };
    assert_eq!(code_of(call, &failure), Some(want), "{status} {text}");
    if call == Call::Pull {
        assert_eq!(code_of(call, &Failure::Stream(text.to_owned())), Some(want), "in the stream: {text}");
    }
}

/// Docker Engine 20.10, where it has begun to answer.
#[test]
fn pulls_that_break_in_their_stream() {
    for (text, want) in [
        ("filesystem layer verification failed for digest sha256:00", ImagePullFailed),
        ("unknown blob", ImagePullFailed),
        ("error pulling image configuration: download failed after attempts=1: unknown blob", ImagePullFailed),
        ("received unexpected HTTP status: 500 Internal Server Error", ImagePullFailed),
        ("unexpected EOF", ImagePullFailed),
        ("toomanyrequests: slow down", ImagePullRateLimited),
        ("unauthorized: authentication required", ImageAccessDenied),
        (
            "pull access denied for a/b, repository does not exist or may require 'docker login': denied: x",
            ImageAccessDenied,
        ),
    ] {
        assert_eq!(code_of(Call::Pull, &Failure::Stream(text.to_owned())), Some(want), "{text}");
    }
}

/// Docker Engine 26 to 28 with the containerd image store.
#[test]
fn pulls_into_the_containerd_image_store() {
    let resolve = "failed to resolve reference \"docker.io/a/b:1\": ";
    let manifest = "https://registry.example/v2/a/b/manifests/1";
    let copy = "failed to copy: httpReadSeeker: failed open: ";
    let digest = "sha256:55ae122ef77dfe5b336bcf9d55af5e3ddc515c91e4f5efe51509cb13f983da3b";
    for (status, text, want) in [
        (404, format!("{resolve}docker.io/a/b:1: not found"), ImageNotFound),
        (404, "no matching manifest for linux/arm64/v8 in the manifest list entries: no match".into(), ImageNotFound),
        (
            404,
            "pull access denied for a/b, repository does not exist or may require 'docker login'".into(),
            ImageAccessDenied,
        ),
        (
            500,
            format!(
                "{resolve}failed to authorize: failed to fetch oauth token: unexpected status from POST request to \
             https://auth.example/token: 401 Unauthorized"
            ),
            ImageAccessDenied,
        ),
        (500, format!("{resolve}unexpected status from HEAD request to {manifest}: 403 Forbidden"), ImageAccessDenied),
        (
            500,
            format!(
                "{resolve}failed to authorize: failed to fetch oauth token: unexpected status from POST request to \
             https://auth.example/token: 429 Too Many Requests"
            ),
            ImagePullRateLimited,
        ),
        (
            500,
            format!("{resolve}unexpected status from HEAD request to {manifest}: 429 Too Many Requests"),
            ImagePullRateLimited,
        ),
        (
            500,
            format!(
                "{copy}unexpected status code {manifest}: 429 Too Many Requests - Server message: toomanyrequests: You \
             have reached your pull rate limit."
            ),
            ImagePullRateLimited,
        ),
        (
            500,
            format!("{resolve}unexpected status from HEAD request to {manifest}: 503 Service Unavailable"),
            ImagePullFailed,
        ),
        (
            500,
            format!(
                "{resolve}failed to do request: Head \"{manifest}\": dial tcp 127.0.0.1:5000: connect: connection \
             refused"
            ),
            ImagePullFailed,
        ),
        (
            500,
            format!(
                "{copy}unexpected status code https://registry.example/v2/a/b/blobs/{digest}: 500 Internal Server \
             Error"
            ),
            ImagePullFailed,
        ),
        (
            500,
            format!(
                "failed commit on ref \"layer-{digest}\": unexpected commit digest {digest}, expected {digest}: \
             failed precondition"
            ),
            ImagePullFailed,
        ),
    ] {
        check(Call::Pull, status, &text, want);
    }
    // A blob that is missing says nothing about the image: a registry may be about to have it.
    let missing = format!("{copy}could not fetch content descriptor {digest} from remote: not found");
    assert_eq!(code_of(Call::Pull, &Failure::Stream(missing)), Some(ImagePullFailed));
}

/// Docker Engine after 28, by its sources: the registry's own message without its code.
#[test]
fn pulls_with_the_registrys_message_alone() {
    for (status, text, want) in [
        (401, "error from registry: authentication required", ImageAccessDenied),
        (403, "error from registry: requested access to the resource is denied", ImageAccessDenied),
        (429, "error from registry: You have reached your unauthenticated pull rate limit.", ImagePullRateLimited),
        (500, "error from registry: too many requests", ImagePullRateLimited),
    ] {
        check(Call::Pull, status, text, want);
    }
}

/// Podman 3 to 5.
#[test]
fn pulls_of_podman() {
    let reading = "initializing source docker://a/b:1: reading manifest 1 in docker.io/a/b: ";
    for (text, want) in [
        ("manifest unknown", ImageNotFound),
        ("name unknown: Repo not found", ImageNotFound),
        ("name unknown: repository name not known to registry", ImageNotFound),
        ("requested access to the resource is denied", ImageAccessDenied),
        (
            "errors: denied: requested access to the resource is denied unauthorized: authentication required",
            ImageAccessDenied,
        ),
        ("unauthorized: authentication required", ImageAccessDenied),
        ("toomanyrequests: You have reached your pull rate limit.", ImagePullRateLimited),
        ("received unexpected HTTP status: 500 Internal Server Error", ImagePullFailed),
    ] {
        check(Call::Pull, 500, &format!("{reading}{text}"), want);
    }
}

/// Docker Engine 23 to 28; the runtime is runc 1.2 and later, which says that the process was being set up.
#[test]
fn starts() {
    let process = |words: &str| {
        format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create \
             failed: unable to start container process: error during container init: {words}: unknown"
        )
    };
    let network = "failed to set up container networking: ";
    for (status, text, want) in [
        (400, process("exec: \"/x\": stat /x: no such file or directory"), ContainerStartFailed),
        (400, process("exec: \"x\": executable file not found in $PATH"), ContainerStartFailed),
        (400, process("exec: \"/x\": permission denied"), ContainerStartFailed),
        (500, process("exec: \"/x\": exec format error"), ContainerStartFailed),
        (500, process("chdir to cwd (\"/x\") set in config.json failed: permission denied"), ContainerStartFailed),
        (500, process("open /proc/x: no space left on device"), EngineUnavailable),
        (500, process("procReady not received"), EngineUnavailable),
        (404, format!("{network}network games not found"), NetworkNotFound),
        (
            500,
            format!(
                "{network}driver failed programming external connectivity on endpoint rtm-a (ee): failed to bind host \
             port for 127.0.0.1:22222:172.17.0.2:8080/tcp: address already in use"
            ),
            HostPortUnavailable,
        ),
        (
            500,
            format!(
                "{network}driver failed programming external connectivity on endpoint rtm-a (ee): Bind for \
             127.0.0.1:22222 failed: port is already allocated"
            ),
            HostPortUnavailable,
        ),
    ] {
        check(Call::Start, status, &text, want);
    }
}
