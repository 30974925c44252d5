//! Which engine starts containers, and how.

use std::net::IpAddr;
use std::path::PathBuf;

use super::check::{Check, Read};
use super::start::given;
use super::{parse, tls};
use crate::engine::config::{Config, EngineKind};
use crate::engine::docker::CredentialSources;
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
    let further_hosts = further_hosts(check, kind);
    let docker_tls = docker_tls(check, kind, docker_host.as_deref());
    let port = check.number("engine-port");
    let chosen = "by the form of docker-host";
    let publish_address = given(check, "publish-address", chosen, publish_address);
    let advertise_host = given(check, "advertise-host", chosen, advertise_host);
    let port_range = given(check, "port-range", "the engine's own choice", port_range);
    let pull_timeout = check.duration("pull-timeout");
    let pull_silence = check.duration("pull-silence");
    let credentials = credentials(check);
    let start_concurrency = start_concurrency(check, kind, slots);
    let simulated = simulated(check);
    Some(Config {
        kind: kind?,
        docker_host: docker_host?,
        further_hosts: further_hosts?,
        docker_tls: docker_tls?,
        port: port?,
        publish_address: publish_address?,
        advertise_host: advertise_host?,
        port_range: port_range?,
        pull_timeout: pull_timeout?,
        pull_silence: pull_silence?,
        credentials: credentials?,
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

fn further_hosts(check: &mut Check, kind: Option<EngineKind>) -> Option<Vec<String>> {
    let hosts = check.parsed("engines", |text| match text {
        "none" => Ok(Vec::new()),
        several => several.split(',').map(|host| parse::docker_host(host.trim())).collect(),
    })?;
    if !hosts.is_empty() && kind == Some(EngineKind::Simulated) {
        check.refuse("engines", "is of Docker Engines, and engine is simulated; correct one of them");
        return None;
    }
    Some(hosts)
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

/// They are read at each pull; what is wrong with them today may be right then, but a name that leads nowhere is a mistake.
fn credentials(check: &mut Check) -> Option<CredentialSources> {
    let docker_config = check.parsed("docker-config", |text| place(text, "the file or the folder"));
    let folder = check.parsed("registry-credentials-dir", |text| match place(text, "the folder")? {
        Some(folder) if !folder.is_dir() => Err("is not a folder; write one with a file for each registry".to_owned()),
        folder => Ok(folder),
    });
    Some(CredentialSources { docker_config: docker_config?, folder: folder? })
}

fn place(text: &str, what: &str) -> Result<Option<PathBuf>, String> {
    if text == "none" {
        return Ok(None);
    }
    match std::fs::metadata(text) {
        Ok(_) => Ok(Some(PathBuf::from(text))),
        Err(error) => Err(format!("cannot be read: {error}; name {what}, or write none")),
    }
}

fn publish_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "is not an IPv4 or IPv6 address; write one of this host's, or 0.0.0.0 for all".to_owned())
}

/// It becomes part of a URL.
fn advertise_host(text: &str) -> Result<String, String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let is_plain = !text.is_empty() && text.len() <= 253 && text.chars().all(is_name);
    if is_plain || text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("is not a host; write a name or an address alone, without a scheme or a port".to_owned())
}

fn port_range(text: &str) -> Result<(u16, u16), String> {
    let ends =
        text.split_once('-').and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    match ends {
        Some((first, last)) if first > 0 && first <= last => Ok((first, last)),
        _ => Err("is not a range of ports; write the first and the last, such as 30000-30999".to_owned()),
    }
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
