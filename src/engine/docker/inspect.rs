//! From the engine's description of a container to ours. A description with holes is an error, never a guess.

use std::time::{Duration, SystemTime};

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, ContainerSummary, HealthStatusEnum, PortMap,
};

use crate::contract::error_code::ErrorCode;
use crate::engine::{Container, ContainerState, EngineError, Listed};

use super::text::tidy;

/// Exit codes the engine gives a container whose process it could not start.
const NOT_STARTED: [i64; 2] = [127, 128];

/// Our view of a container that listens on `port` inside and is reached on `host` from here.
pub(super) fn container(seen: ContainerInspectResponse, port: u16, host: &str) -> Result<Container, EngineError> {
    let state = state(&seen)?;
    let id = seen.id.filter(|id| !id.is_empty()).ok_or_else(|| hole("Id"))?;
    let labels = seen.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect();
    let endpoint = seen
        .network_settings
        .and_then(|network| network.ports)
        .and_then(|ports| published(&ports, port))
        .map(|published| format!("http://{host}:{published}"));
    Ok(Container { id, state, labels, endpoint })
}

/// One line of the engine's list.
pub(super) fn listed(seen: ContainerSummary) -> Result<Listed, EngineError> {
    let id = seen.id.filter(|id| !id.is_empty()).ok_or_else(|| hole("Id"))?;
    let name = seen.names.and_then(|names| names.into_iter().next()).ok_or_else(|| hole("Names"))?;
    let created = seen.created.and_then(|seconds| u64::try_from(seconds).ok()).ok_or_else(|| hole("Created"))?;
    Ok(Listed {
        id,
        name: name.strip_prefix('/').unwrap_or(&name).to_owned(),
        labels: seen.labels.unwrap_or_default().into_iter().collect(),
        created_at: SystemTime::UNIX_EPOCH + Duration::from_secs(created),
    })
}

/// Whether this is the container's whole id or its name.
pub(super) fn is_called(seen: &ContainerInspectResponse, name_or_id: &str) -> Result<bool, EngineError> {
    if seen.id.as_deref() == Some(name_or_id) {
        return Ok(true);
    }
    let name = seen.name.as_deref().ok_or_else(|| hole("Name"))?;
    Ok(name.strip_prefix('/').unwrap_or(name) == name_or_id)
}

/// Whether the image's own health check says healthy; an image without one never does.
pub(super) fn is_healthy(seen: &ContainerInspectResponse) -> bool {
    let health = seen.state.as_ref().and_then(|state| state.health.as_ref()).and_then(|health| health.status);
    health == Some(HealthStatusEnum::HEALTHY)
}

fn state(seen: &ContainerInspectResponse) -> Result<ContainerState, EngineError> {
    let state = seen.state.as_ref().ok_or_else(|| hole("State"))?;
    let status = state.status.filter(|status| *status != Status::EMPTY).ok_or_else(|| hole("State.Status"))?;
    Ok(match status {
        Status::CREATED => {
            // A refused start leaves the container `created`; starting it again would be refused again.
            let error = state.error.as_deref().unwrap_or_default().trim();
            let code = state.exit_code.unwrap_or_default();
            if !error.is_empty() {
                ContainerState::StartFailed(tidy(error))
            } else if NOT_STARTED.contains(&code) {
                ContainerState::StartFailed(format!("exit code {code}"))
            } else {
                ContainerState::Created
            }
        }
        // `restarting` needs a policy that we never set, and `stopping` is on its way to `exited`: in both the next
        // look tells more, and readiness is decided by the endpoint.
        Status::RUNNING | Status::RESTARTING | Status::STOPPING => ContainerState::Running,
        Status::PAUSED => ContainerState::Paused,
        Status::EXITED => ContainerState::Exited(state.exit_code.ok_or_else(|| hole("State.ExitCode"))?),
        Status::REMOVING | Status::DEAD | Status::EMPTY => ContainerState::Removing,
    })
}

/// The host port behind `port`; an IPv4 binding before any other, for the endpoint's host may know no IPv6.
fn published(ports: &PortMap, port: u16) -> Option<u16> {
    let bindings = ports.get(&format!("{port}/tcp"))?.as_deref()?;
    let number = |binding: &bollard::models::PortBinding| {
        binding.host_port.as_deref()?.parse::<u16>().ok().filter(|port| *port != 0)
    };
    let is_ipv4 =
        |binding: &&bollard::models::PortBinding| !binding.host_ip.as_deref().unwrap_or_default().contains(':');
    bindings.iter().filter(is_ipv4).find_map(number).or_else(|| bindings.iter().find_map(number))
}

fn hole(field: &str) -> EngineError {
    EngineError::failed(ErrorCode::InternalError, format!("the engine described a container without {field}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(value: &Value) -> ContainerInspectResponse {
        serde_json::from_value(value.clone()).expect("a description the client library reads")
    }

    fn check_state(state: &Value, want: &ContainerState) {
        let got = container(seen(&json!({"Id": "7", "State": state})), 8080, "h").expect("a whole description");
        assert_eq!(&got.state, want);
    }

    #[test]
    fn states() {
        check_state(&json!({"Status": "created", "ExitCode": 0, "Error": ""}), &ContainerState::Created);
        check_state(&json!({"Status": "created"}), &ContainerState::Created);
        check_state(
            &json!({"Status": "created", "ExitCode": 127, "Error": "OCI runtime\ncreate failed"}),
            &ContainerState::StartFailed("OCI runtime create failed".into()),
        );
        check_state(
            &json!({"Status": "created", "ExitCode": 128}),
            &ContainerState::StartFailed("exit code 128".into()),
        );
        check_state(&json!({"Status": "running", "Running": true}), &ContainerState::Running);
        check_state(&json!({"Status": "restarting"}), &ContainerState::Running);
        check_state(&json!({"Status": "paused", "Running": true, "Paused": true}), &ContainerState::Paused);
        check_state(&json!({"Status": "exited", "ExitCode": 137}), &ContainerState::Exited(137));
        check_state(&json!({"Status": "exited", "ExitCode": 0}), &ContainerState::Exited(0));
        check_state(&json!({"Status": "removing"}), &ContainerState::Removing);
        check_state(&json!({"Status": "dead"}), &ContainerState::Removing);
    }

    #[test]
    fn holes_are_errors() {
        for (value, field) in [
            (json!({"State": {"Status": "running"}}), "Id"),
            (json!({"Id": "", "State": {"Status": "running"}}), "Id"),
            (json!({"Id": "7"}), "State"),
            (json!({"Id": "7", "State": {}}), "State.Status"),
            (json!({"Id": "7", "State": {"Status": ""}}), "State.Status"),
            (json!({"Id": "7", "State": {"Status": "exited"}}), "State.ExitCode"),
        ] {
            let error = container(seen(&value), 8080, "h").expect_err("a hole");
            assert_eq!(error.to_string(), format!("internal_error: the engine described a container without {field}"));
        }
    }

    #[test]
    fn endpoints() {
        for (ports, want) in [
            (json!({"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]}), Some("http://h:32768")),
            (
                json!({"8080/tcp": [{"HostIp": "::", "HostPort": "7"}, {"HostIp": "0.0.0.0", "HostPort": "8"}]}),
                Some("http://h:8"),
            ),
            (json!({"8080/tcp": [{"HostIp": "::", "HostPort": "7"}]}), Some("http://h:7")),
            (json!({"8080/tcp": [{"HostPort": ""}, {"HostPort": "9"}]}), Some("http://h:9")),
            (json!({"8080/tcp": [{"HostPort": "0"}]}), None),
            (json!({"8080/tcp": [{"HostPort": "70000"}]}), None),
            (json!({"8080/tcp": [{}]}), None),
            (json!({"8080/tcp": []}), None),
            (json!({"8080/tcp": null}), None),
            (json!({"9090/tcp": [{"HostPort": "9"}]}), None),
            (json!({}), None),
        ] {
            let value = json!({"Id": "7", "State": {"Status": "running"}, "NetworkSettings": {"Ports": ports}});
            let got = container(seen(&value), 8080, "h").expect("a whole description");
            assert_eq!(got.endpoint.as_deref(), want, "{ports}");
        }
    }

    #[test]
    fn the_beginning_of_an_id_is_no_name() {
        let whole = seen(&json!({"Id": "abcdef", "Name": "/rtm-a"}));
        for (name_or_id, want) in [("rtm-a", true), ("abcdef", true), ("abc", false), ("/rtm-a", false), ("", false)] {
            assert_eq!(is_called(&whole, name_or_id), Ok(want), "{name_or_id}");
        }
        let nameless = seen(&json!({"Id": "abcdef"}));
        assert_eq!(is_called(&nameless, "abcdef"), Ok(true));
        assert_eq!(is_called(&nameless, "rtm-a"), Err(hole("Name")));
    }

    #[test]
    fn only_healthy_is_healthy() {
        for (state, want) in [
            (json!({"Health": {"Status": "healthy"}}), true),
            (json!({"Health": {"Status": "starting"}}), false),
            (json!({"Health": {"Status": "unhealthy"}}), false),
            (json!({"Health": {}}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_healthy(&seen(&json!({"State": state}))), want, "{state}");
        }
    }
}
