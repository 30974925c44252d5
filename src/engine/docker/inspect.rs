//! From the engine's description of a container to ours. A description with holes is an error, never a guess.

use std::time::{Duration, SystemTime};

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, ContainerSummary,
    ContainerSummaryStateEnum as Listing, EventMessage, HealthStatusEnum, PortMap, PortSummary, PortSummaryTypeEnum,
};

use crate::contract::error_code::ErrorCode;
use crate::engine::{Container, ContainerState, EngineError, EngineEvent, Listed, ListedState, Ready, label};

use super::ports::Ports;
use super::text::tidy;

/// Exit codes the engine gives a container whose process it could not start.
const NOT_STARTED: [i64; 2] = [127, 128];

/// Our view of a container whose port is published as these say.
pub(super) fn container(seen: ContainerInspectResponse, ports: &Ports) -> Result<Container, EngineError> {
    let state = state(&seen)?;
    let ended_at_ms = match &state {
        ContainerState::Exited(_) => {
            seen.state.as_ref().and_then(|state| state.finished_at.as_deref()).and_then(ms_since_1970)
        }
        _ => None,
    };
    let id = seen.id.filter(|id| !id.is_empty()).ok_or_else(|| hole("Id"))?;
    let labels = seen.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect();
    let endpoint = seen
        .network_settings
        .and_then(|network| network.ports)
        .and_then(|seen| published(&seen, ports.inside))
        .map(|published| ports.endpoint(published));
    Ok(Container { id, state, labels, endpoint, ended_at_ms })
}

/// One line of the engine's list.
pub(super) fn listed(seen: ContainerSummary, ports: &Ports) -> Result<Listed, EngineError> {
    let id = seen.id.filter(|id| !id.is_empty()).ok_or_else(|| hole("Id"))?;
    let name = seen.names.and_then(|names| names.into_iter().next()).ok_or_else(|| hole("Names"))?;
    let created = seen.created.and_then(|seconds| u64::try_from(seconds).ok()).ok_or_else(|| hole("Created"))?;
    Ok(Listed {
        id,
        name: name.strip_prefix('/').unwrap_or(&name).to_owned(),
        labels: seen.labels.unwrap_or_default().into_iter().collect(),
        created_at: SystemTime::UNIX_EPOCH + Duration::from_secs(created),
        state: match seen.state {
            Some(Listing::RUNNING | Listing::RESTARTING | Listing::STOPPING) => ListedState::Running,
            Some(Listing::PAUSED) => ListedState::Paused,
            Some(Listing::EXITED) => ListedState::Ended,
            Some(Listing::CREATED | Listing::REMOVING | Listing::DEAD | Listing::EMPTY) | None => ListedState::Other,
        },
        endpoint: published_in_list(&seen.ports.unwrap_or_default(), ports.inside)
            .map(|published| ports.endpoint(published)),
    })
}

/// One event; none where it is not about a container of ours.
pub(super) fn event(seen: EventMessage) -> Option<EngineEvent> {
    let actor = seen.actor?;
    let mut attributes = actor.attributes?;
    Some(EngineEvent {
        game_id: attributes.remove(label::GAME_ID)?,
        container_id: actor.id.filter(|id| !id.is_empty())?,
        container_name: attributes.remove("name").unwrap_or_default(),
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

/// What the image's own health check says.
pub(super) fn health(seen: &ContainerInspectResponse) -> Ready {
    let Some(state) = seen.state.as_ref().filter(|state| state.status == Some(Status::RUNNING)) else {
        // What the container is now says more.
        return Ready::NotYet;
    };
    match state.health.as_ref().map(|health| health.status) {
        Some(Some(HealthStatusEnum::HEALTHY)) => Ready::Yes,
        // The engine leaves `Health` out of a container without a check; others say `none` there.
        None | Some(Some(HealthStatusEnum::NONE)) => {
            Ready::Never("the image has no health check, and readiness is `health`".to_owned())
        }
        Some(_) => Ready::NotYet,
    }
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

/// The host port behind `port` in a list, chosen as by [`published`].
fn published_in_list(ports: &[PortSummary], port: u16) -> Option<u16> {
    let ours = |seen: &&PortSummary| {
        seen.private_port == port
            && matches!(seen.typ, Some(PortSummaryTypeEnum::TCP | PortSummaryTypeEnum::EMPTY) | None)
    };
    let number = |seen: &PortSummary| seen.public_port.filter(|port| *port != 0);
    let is_ipv4 = |seen: &&PortSummary| !seen.ip.as_deref().unwrap_or_default().contains(':');
    let mut ours = ports.iter().filter(ours);
    ours.clone().filter(is_ipv4).find_map(number).or_else(|| ours.find_map(number))
}

/// A time of the engine (RFC 3339, with `Z` or an offset) in ms since 1970. None for the year 1, which the engine writes
/// for "never", and for what is no time.
fn ms_since_1970(text: &str) -> Option<u64> {
    let (time, offset_s) = if let Some(time) = text.strip_suffix('Z') {
        (time, 0)
    } else {
        let (time, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
        let (hours, minutes) = offset.get(1..)?.split_once(':')?;
        let offset_s = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
        (time, if offset.starts_with('-') { -offset_s } else { offset_s })
    };
    let time = humantime::parse_rfc3339(&format!("{time}Z")).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis();
    u64::try_from(since).ok()?.checked_add_signed(-offset_s * 1000)
}

fn hole(field: &str) -> EngineError {
    EngineError::failed(ErrorCode::InternalError, format!("the engine described a container without {field}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::docker::address::Address;
    use crate::engine::docker::options::DockerOptions;

    /// The ports of an engine at the host `h`.
    fn at_h() -> Ports {
        let options = DockerOptions::new("tcp://h:1", 8080, 1);
        Ports::new(&Address::parse(&options.host).expect("a URL"), &options).expect("good options")
    }

    fn seen(value: &Value) -> ContainerInspectResponse {
        serde_json::from_value(value.clone()).expect("a description the client library reads")
    }

    fn check_state(state: &Value, want: &ContainerState) {
        let got = container(seen(&json!({"Id": "7", "State": state})), &at_h()).expect("a whole description");
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
            let error = container(seen(&value), &at_h()).expect_err("a hole");
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
            let got = container(seen(&value), &at_h()).expect("a whole description");
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
    fn a_list_shows_states_and_endpoints() {
        let ours = json!([
            {"IP": "::", "PrivatePort": 8080, "PublicPort": 7, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 8080, "PublicPort": 8, "Type": "tcp"},
        ]);
        let others = json!([
            {"PrivatePort": 8080, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 8080, "PublicPort": 9, "Type": "udp"},
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 9, "Type": "tcp"},
        ]);
        for (state, ports, want_state, want_endpoint) in [
            ("running", &ours, ListedState::Running, Some("http://h:8")),
            ("paused", &ours, ListedState::Paused, Some("http://h:8")),
            ("exited", &others, ListedState::Ended, None),
            ("created", &json!([]), ListedState::Other, None),
            ("dead", &json!(null), ListedState::Other, None),
        ] {
            let value = json!({"Id": "7", "Names": ["/rtm-a"], "Created": 17, "State": state, "Ports": ports});
            let listed =
                listed(serde_json::from_value(value).expect("a line of a list"), &at_h()).expect("a whole line");
            assert_eq!((listed.state, listed.endpoint.as_deref()), (want_state, want_endpoint), "{state}");
            assert_eq!(listed.name, "rtm-a");
        }
    }

    #[test]
    fn the_end_of_a_container_has_a_time() {
        for (finished, want) in [
            ("1970-01-01T00:00:01.5Z", Some(1_500)),
            ("1970-01-01T00:00:01.500123456Z", Some(1_500)),
            ("1970-01-01T02:00:01.5+02:00", Some(1_500)),
            ("1969-12-31T22:30:01-01:30", None),
            ("1970-01-01T00:00:01-01:30", Some(5_401_000)),
            ("0001-01-01T00:00:00Z", None),
            ("", None),
            ("é+00:00", None),
            ("Z", None),
        ] {
            assert_eq!(ms_since_1970(finished), want, "{finished}");
            let mut state = json!({"Status": "exited", "ExitCode": 0, "FinishedAt": finished});
            let of = |state: &Value| container(seen(&json!({"Id": "7", "State": state})), &at_h()).expect("whole");
            assert_eq!(of(&state).ended_at_ms, want, "{finished}");
            state["Status"] = json!("running");
            assert_eq!(of(&state).ended_at_ms, None, "one that runs again has not ended");
        }
    }

    #[test]
    fn an_event_without_a_game_is_not_ours() {
        let of = |value: Value| event(serde_json::from_value(value).expect("an event"));
        let ours = json!({"Type": "container", "Action": "die", "Actor": {
            "ID": "7", "Attributes": {"rtm.game_id": "a", "name": "rtm-a", "exitCode": "1"}}});
        let want = EngineEvent { game_id: "a".into(), container_id: "7".into(), container_name: "rtm-a".into() };
        assert_eq!(of(ours), Some(want));
        for value in [json!({}), json!({"Actor": {}}), json!({"Actor": {"ID": "7", "Attributes": {"name": "x"}}})] {
            assert_eq!(of(value), None);
        }
    }

    #[test]
    fn only_healthy_is_healthy() {
        let never = || Ready::Never("the image has no health check, and readiness is `health`".to_owned());
        for (health, want) in [
            (json!({"Status": "healthy"}), Ready::Yes),
            (json!({"Status": "starting"}), Ready::NotYet),
            (json!({"Status": "unhealthy"}), Ready::NotYet),
            (json!({}), Ready::NotYet),
            (json!({"Status": "none"}), never()),
            (json!(null), never()),
        ] {
            let of = |status| super::health(&seen(&json!({"State": {"Status": status, "Health": health}})));
            assert_eq!(of("running"), want, "{health}");
            assert_eq!(of("exited"), Ready::NotYet, "{health}");
        }
    }
}
