//! What goes to the engine: checked names, and the body of a create.
//!
//! The client library pastes names into URLs as they are, so a `?` or a `..` in one would be another request.

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum};

use crate::contract::error_code::ErrorCode;
use crate::engine::{ContainerSpec, EngineError};

use super::abilities::Abilities;
use super::ports::Ports;
use super::sandbox::confine;

/// A container's name or id. The caller derives it, so a bad one is a bug.
pub(super) fn check_name(name_or_id: &str) -> Result<(), EngineError> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let begins_well = name_or_id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins_well && name_or_id.bytes().all(is_part) {
        return Ok(());
    }
    Err(EngineError::failed(ErrorCode::InternalError, format!("{name_or_id:?} is not a container's name or id")))
}

/// An image reference with a tag or a digest; a pull without either would fetch every tag there is.
///
/// The grammar is the start service's, whose references all pass here. This check is about the request alone.
pub(crate) fn check_image(image: &str) -> Result<(), EngineError> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:/@+[]".contains(&byte);
    let begins_well = |(index, component): (usize, &str)| {
        // The address of a registry may be in brackets.
        let byte = component.bytes().next();
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || index == 0 && byte == b'[')
    };
    let components_begin_well = image.split('/').enumerate().all(begins_well);
    if !components_begin_well || !image.bytes().all(is_part) {
        return Err(EngineError::failed(ErrorCode::InvalidImageRef, format!("{image:?} is not an image reference")));
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) {
        return Ok(());
    }
    Err(EngineError::failed(ErrorCode::InternalError, format!("{image} has neither a tag nor a digest")))
}

/// The container to create on an engine with these abilities, its port published as these say.
pub(super) fn create_body(spec: &ContainerSpec, ports: &Ports, abilities: &Abilities) -> ContainerCreateBody {
    let port = format!("{}/tcp", spec.port);
    // The engine takes a free port of a range, and any free port where there is none.
    let binding = PortBinding { host_ip: Some(ports.publish_ip.clone()), host_port: Some(ports.host_port.clone()) };
    // The caller decides about a game engine that has exited, so the engine must not restart it.
    let restart_policy = RestartPolicy { name: Some(RestartPolicyNameEnum::NO), ..RestartPolicy::default() };
    let mut body = ContainerCreateBody {
        image: Some(spec.image.clone()),
        env: Some(spec.env.clone()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        exposed_ports: Some(vec![port.clone()]),
        host_config: Some(HostConfig {
            port_bindings: Some([(port, Some(vec![binding]))].into()),
            restart_policy: Some(restart_policy),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    confine(&mut body, &spec.sandbox, abilities);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::image_ref::ImageRef;
    use proptest::prelude::*;

    fn code(result: &Result<(), EngineError>) -> Option<ErrorCode> {
        match result {
            Err(EngineError::Failed { code, .. }) => Some(*code),
            _ => None,
        }
    }

    #[test]
    fn names_cannot_change_the_request() {
        for name in ["rtm-a", "x", "0a1b.c_d"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "-a", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\n", "é"] {
            assert_eq!(code(&check_name(name)), Some(ErrorCode::InternalError), "{name}");
        }
    }

    #[test]
    fn images_cannot_change_the_request() {
        for image in [
            "x:1",
            "docker.io/library/x:latest",
            "127.0.0.1:5000/a/b:1",
            "h/x@sha256:00",
            "h:5/x:1@sha256:0",
            "[::1]:5000/a:1",
        ] {
            assert_eq!(check_image(image), Ok(()), "{image}");
        }
        for image in ["", "/x:1", "a//b:1", "a/../b:1", "a?x:1", "a#x:1", "a%20:1", "a:1\n", "a/:1", "a/[b]:1"] {
            assert_eq!(code(&check_image(image)), Some(ErrorCode::InvalidImageRef), "{image}");
        }
        for image in ["x", "localhost:5000/x"] {
            assert_eq!(code(&check_image(image)), Some(ErrorCode::InternalError), "{image}");
        }
    }

    /// A reference of the grammar, most of the time.
    fn reference() -> impl Strategy<Value = String> {
        let domain = prop_oneof![
            Just(String::new()),
            "(localhost|[a-z]{1,4}\\.[a-z]{1,4}|[A-Z][a-z]{0,3})(:[0-9]{1,5})?/",
            "\\[:[0-9a-fA-F:]{1,20}\\](:[0-9]{1,5})?/",
        ];
        let path = "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,4}){0,2}";
        let digest = prop_oneof![Just(String::new()), "@sha256:[0-9a-f]{64}"];
        (domain, path, "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?", digest)
            .prop_map(|(domain, path, tag, digest)| format!("{domain}{path}{tag}{digest}"))
    }

    proptest! {
        /// What the contract accepts must not be refused before it is asked of the engine.
        #[test]
        fn an_engine_is_asked_for_every_reference(
            text in prop_oneof![reference(), "[a-zA-Z0-9:/@._\\[\\]-]{0,40}"]
        ) {
            if let Ok(image) = ImageRef::parse(&text) {
                prop_assert_eq!(check_image(image.as_str()), Ok(()));
            }
        }
    }
}
