//! The engines of the fleet: which there are, as its hosts say in Redis, and which of them can be looked at from here.
//!
//! A host says where its replicas reach its engine. A socket of that name may be here too and lead to another engine, so an
//! engine counts as a host's only if it has the key that the host has written down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard::Docker;
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::read::Reader;
use super::reply;
use super::report::Site;
use crate::engine::config::EngineKind;
use crate::redis::RedisError;
use crate::settings::Settings;
use crate::tls::docker_client;

/// How long a Docker Engine may take to list its containers.
pub(super) const DOCKER_WITHIN: Duration = Duration::from_secs(10);
/// Engines that are looked at.
const ENGINES_MAX: usize = 100;
/// Engines that are asked at once.
const AT_ONCE: usize = 16;
/// The volume that holds an engine's key, and its label.
const KEY_VOLUME: &str = "rtm-engine";
const KEY_LABEL: &str = "rtm.engine";

/// A host as it wrote itself down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    engine_key: String,
    /// `docker` or `simulated`; empty where it does not say.
    kind: String,
    /// Where its replicas reach its engine; empty where it does not say.
    address: String,
}

impl Host {
    /// `<server ms> <heartbeat ms> <engine key> <JSON>`
    fn parse(name: &str, line: &str) -> Option<Self> {
        let mut parts = line.splitn(4, ' ').skip(2);
        let engine_key = parts.next()?.to_owned();
        let about: serde_json::Value =
            parts.next().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let text = |field: &str| about[field].as_str().unwrap_or_default().to_owned();
        Some(Self { name: name.to_owned(), engine_key, kind: text("engine"), address: text("docker_host") })
    }

    fn has_docker(&self) -> bool {
        self.kind != "simulated"
    }
}

/// An engine that answers.
pub(super) struct Reached {
    pub(super) docker: Docker,
    /// The names under which the fleet has known it.
    pub(super) names: BTreeSet<String>,
    /// The name that its containers must have as their host; none: any.
    pub(super) only: Option<String>,
    key: Option<String>,
    address: String,
}

/// The engines.
#[derive(Default)]
pub(super) struct Sites {
    pub(super) reached: Vec<Reached>,
    /// Those of the fleet that could not be looked at.
    pub(super) missed: Vec<Site>,
    /// Why the engine of the settings could not, where no host has said that it is its own.
    pub(super) own: Option<String>,
}

impl Reached {
    /// The address, and the hosts whose engine it is.
    pub(super) fn site(&self, live: usize) -> Site {
        let hosts = self.names.iter().cloned().collect::<Vec<_>>().join(", ");
        Site { host: hosts, address: self.address.clone(), live: Some(live), why: String::new() }
    }
}

impl Reader<'_> {
    /// The hosts that have said something.
    pub(super) async fn hosts(&self) -> Result<Vec<Host>, RedisError> {
        let key = format!("{}hosts", self.settings.start.record_prefix);
        let flat = reply::texts(self.ask(&["HGETALL", &key]).await?)?;
        let (lines, _) = flat.as_chunks::<2>();
        Ok(lines.iter().filter_map(|[name, line]| Host::parse(name, line)).collect())
    }

    /// Whether containers exist only in Redis: as the settings say, or as every host says.
    pub(super) fn is_simulated(&self, hosts: &[Host]) -> bool {
        self.settings.engine.kind == EngineKind::Simulated
            || (!hosts.is_empty() && hosts.iter().all(|host| host.kind == "simulated"))
    }
}

/// The engine of the settings, and those of the hosts.
pub(super) async fn sites(settings: &Settings, hosts: &[Host]) -> Sites {
    let own = settings.engine.docker_host.as_str();
    let mut addresses: BTreeMap<&str, Vec<&Host>> = BTreeMap::from([(own, Vec::new())]);
    for host in hosts.iter().filter(|host| host.has_docker() && !host.address.is_empty()) {
        addresses.entry(&host.address).or_default().push(host);
    }
    let mut sites = Sites::default();
    let looked_at: Vec<_> = addresses.into_iter().collect();
    let (some, others) = looked_at.split_at(looked_at.len().min(ENGINES_MAX));
    for (address, of) in others {
        sites.miss(of, address, &format!("the first {ENGINES_MAX} engines were looked at"));
    }
    let asked = stream::iter(some).map(async |(address, of)| (*address, of, reach(settings, address).await));
    let mut answers: Vec<_> = asked.buffered(AT_ONCE).collect().await;
    // The operator's own words come first.
    answers.sort_by_key(|(address, ..)| *address != own);
    for (address, of, answer) in answers {
        match answer {
            Ok(reached) => sites.take(settings, reached, of, hosts),
            Err(why) if of.is_empty() => sites.own = Some(why),
            Err(why) => sites.miss(of, address, &why),
        }
    }
    let known: BTreeSet<String> = sites.reached.iter().flat_map(|reached| reached.names.clone()).collect();
    for host in hosts.iter().filter(|host| host.has_docker() && host.address.is_empty() && !known.contains(&host.name))
    {
        sites.miss(&[host], "", "it does not say where its engine is: its replicas are of an older version");
    }
    sites.missed.retain(|site| !known.contains(&site.host));
    sites
}

impl Sites {
    fn miss(&mut self, hosts: &[&Host], address: &str, why: &str) {
        let site = |host: &&Host| Site {
            host: host.name.clone(),
            address: address.to_owned(),
            live: None,
            why: why.to_owned(),
        };
        self.missed.extend(hosts.iter().map(site));
    }

    fn take(&mut self, settings: &Settings, mut reached: Reached, of: &[&Host], hosts: &[Host]) {
        let is_own = reached.address == settings.engine.docker_host;
        if let Some(key) = &reached.key {
            if self.reached.iter().any(|other| other.key.as_ref() == Some(key)) {
                return;
            }
            let same = hosts.iter().filter(|host| host.engine_key == *key);
            reached.names.extend(same.map(|host| host.name.clone()));
        }
        let others: Vec<&Host> = of.iter().copied().filter(|host| !reached.names.contains(&host.name)).collect();
        self.miss(
            &others,
            &reached.address,
            "what answers there from here is another engine; run the audit on that host",
        );
        if is_own {
            reached.only.clone_from(&settings.start.host_id);
            reached.names.extend(settings.start.host_id.clone());
        }
        if is_own || !reached.names.is_empty() {
            self.reached.push(reached);
        }
    }
}

/// A connection to an engine, in a version of its API that it has, and its key.
async fn reach(settings: &Settings, address: &str) -> Result<Reached, String> {
    let is_own = address == settings.engine.docker_host;
    let tls = settings.engine.docker_tls.as_ref().filter(|_| is_own || address.starts_with("tcp://"));
    let docker = docker_client(address, tls, DOCKER_WITHIN.as_secs()).map_err(|error| error.to_string())?;
    let negotiated = timeout(DOCKER_WITHIN, docker.negotiate_version()).await;
    let answered = negotiated.map_err(|_| format!("nothing within {DOCKER_WITHIN:?}"))?;
    let docker = answered.map_err(|error| explained(settings, &error))?;
    let volume = timeout(DOCKER_WITHIN, docker.inspect_volume(KEY_VOLUME)).await;
    let key = volume.ok().and_then(Result::ok).and_then(|mut volume| volume.labels.remove(KEY_LABEL));
    Ok(Reached { docker, names: BTreeSet::new(), only: None, key, address: address.to_owned() })
}

/// The words of an error, those of a failed handshake among them.
pub(super) fn explained(settings: &Settings, error: &bollard::errors::Error) -> String {
    let tls = settings.engine.docker_tls.as_ref();
    tls.and_then(|tls| tls.explain_causes(error)).unwrap_or_else(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_says_where_its_engine_is() {
        let line = r#"1000 300 k1 {"engine":"docker","docker_host":"unix:///run/a.sock"}"#;
        let host = Host::parse("a", line).expect("a line");
        assert_eq!((host.engine_key.as_str(), host.address.as_str()), ("k1", "unix:///run/a.sock"));
        assert!(host.has_docker());
        let old = Host::parse("b", "1000 300 k2").expect("a line");
        assert_eq!((old.address.as_str(), old.has_docker()), ("", true));
        assert!(!Host::parse("c", r#"1 2 k3 {"engine":"simulated"}"#).expect("a line").has_docker());
        assert_eq!(Host::parse("d", "x"), None);
    }
}
