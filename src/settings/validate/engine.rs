//! Which engine starts containers, and how.

use super::check::{Check, Read};
use super::{parse, tls};
use crate::engine::config::{Config, EngineKind};
use crate::engine::simulated::config::Config as SimulatedConfig;
use crate::secret::without_credentials;
use crate::settings::raw::Origin;
use crate::tls::Tls;

/// A Docker Engine serialises most of a start: more at once only makes each of them slower.
const DOCKER_CONCURRENCY: usize = 4;

/// `slots` is none when it could not be read.
pub(super) fn settings(check: &mut Check, slots: Option<usize>) -> Option<Config> {
    let kind = check.choice("engine", &[("docker", EngineKind::Docker), ("simulated", EngineKind::Simulated)]);
    let docker_host = docker_host(check, kind);
    let docker_tls = docker_tls(check, kind, docker_host.as_deref());
    let port = check.number("engine-port");
    let start_concurrency = start_concurrency(check, kind, slots);
    let simulated = simulated(check);
    Some(Config {
        kind: kind?,
        docker_host: docker_host?,
        docker_tls: docker_tls?,
        port: port?,
        start_concurrency: start_concurrency?,
        simulated: simulated?,
    })
}

fn docker_host(check: &mut Check, kind: Option<EngineKind>) -> Option<String> {
    // DOCKER_HOST was set for other programs: without Docker, a form that we do not support does no harm.
    if is_dockers_own(&check.origin("docker-host")) && kind != Some(EngineKind::Docker) {
        return Some(without_credentials(&check.text_of("docker-host")));
    }
    check.parsed("docker-host", parse::docker_host)
}

/// Does a value come from one of Docker's own variables?
fn is_dockers_own(origin: &Origin) -> bool {
    matches!(origin, Origin::Environment(variable) if variable.starts_with("DOCKER_"))
}

/// An engine's certificate is signed by an authority of one's own, so the file that names it is what turns TLS on.
fn docker_tls(check: &mut Check, kind: Option<EngineKind>, docker_host: Option<&str>) -> Read<Option<Tls>> {
    let files = tls::DOCKER;
    for name in [files.ca, files.cert, files.key] {
        if !check.is_set(name) {
            check.show(name, "none");
        }
    }
    let Some(name) = files.given(check) else { return Some(None) };
    if is_dockers_own(&check.origin(name)) && kind != Some(EngineKind::Docker) {
        return Some(None);
    }
    // A host that cannot be read is the problem to solve first.
    if !docker_host?.starts_with("tcp://") {
        let host = check.quoted("docker-host");
        check.refuse(name, format!("is for a tcp:// engine, but {host} is a socket; correct one of them"));
        return None;
    }
    if name != files.ca {
        check.refuse(name, format!("needs {} too: the authority that signed the engine's certificate", files.ca));
        return None;
    }
    files.read(check).map(Some)
}

fn start_concurrency(check: &mut Check, kind: Option<EngineKind>, slots: Option<usize>) -> Option<usize> {
    if check.is_set("start-concurrency") {
        return check.number("start-concurrency");
    }
    // Without an engine or slots there is a problem already.
    let computed = match kind? {
        EngineKind::Docker => DOCKER_CONCURRENCY,
        EngineKind::Simulated => slots?,
    };
    check.show("start-concurrency", computed.to_string());
    Some(computed)
}

fn simulated(check: &mut Check) -> Option<SimulatedConfig> {
    let latency = check.parsed("simulated-latency", parse::latency);
    let failures = check.parsed("simulated-failures", parse::share);
    let errors = check.parsed("simulated-errors", parse::share);
    let seed = check.number("simulated-seed");
    if let (Some(failures), Some(errors)) = (failures, errors)
        && failures + errors > 1.0
    {
        let failures = check.quoted("simulated-failures");
        check.refuse("simulated-errors", format!("must not be more than 1 together with {failures}"));
    }
    let (latency_min, latency_max) = latency?;
    Some(SimulatedConfig { latency_min, latency_max, failures: failures?, errors: errors?, seed: seed? })
}
