//! What goes to the engine: checked names, and the body of a create.
//!
//! The client library pastes names into URLs as they are, so a `?` or a `..` in one would be another request.

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum};

use crate::contract::error_code::ErrorCode;
use crate::engine::{ContainerSpec, EngineError};

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
pub(super) fn check_image(image: &str) -> Result<(), EngineError> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:/@+".contains(&byte);
    let components_begin_well =
        image.split('/').all(|component| component.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()));
    if !components_begin_well || !image.bytes().all(is_part) {
        return Err(EngineError::failed(ErrorCode::InvalidImageRef, format!("{image:?} is not an image reference")));
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) {
        return Ok(());
    }
    Err(EngineError::failed(ErrorCode::InternalError, format!("{image} has neither a tag nor a digest")))
}

/// The container to create, its port published on `publish_ip` at a host port of the engine's choice.
pub(super) fn create_body(spec: &ContainerSpec, publish_ip: &str) -> ContainerCreateBody {
    let port = format!("{}/tcp", spec.port);
    let binding = PortBinding { host_ip: Some(publish_ip.to_owned()), host_port: Some(String::new()) };
    // The caller decides about a game engine that has exited, so the engine must not restart it.
    let restart_policy = RestartPolicy { name: Some(RestartPolicyNameEnum::NO), ..RestartPolicy::default() };
    ContainerCreateBody {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for image in ["x:1", "docker.io/library/x:latest", "127.0.0.1:5000/a/b:1", "h/x@sha256:00", "h:5/x:1@sha256:0"]
        {
            assert_eq!(check_image(image), Ok(()), "{image}");
        }
        for image in ["", "/x:1", "a//b:1", "a/../b:1", "a?x:1", "a#x:1", "a%20:1", "a:1\n", "a/:1"] {
            assert_eq!(code(&check_image(image)), Some(ErrorCode::InvalidImageRef), "{image}");
        }
        for image in ["x", "localhost:5000/x"] {
            assert_eq!(code(&check_image(image)), Some(ErrorCode::InternalError), "{image}");
        }
    }
}
