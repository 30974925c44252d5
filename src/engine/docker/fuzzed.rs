//! What engines and registries say, for the fuzzer.

use bollard::models::{ContainerInspectResponse, ContainerSummary, CreateImageInfo, EventMessage};
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use super::address::Address;
use super::options::DockerOptions;
use super::ports::Ports;
use super::text::{Tail, tidy};
use super::{inspect, pull, registry};

/// A reply, read as each kind in turn, and as the words of a failure.
pub(crate) fn replies(bytes: &[u8]) {
    let options = DockerOptions::new("unix:///run/docker.sock", 7777, 1);
    let address = Address::parse(&options.host);
    if let Some(ports) = address.ok().and_then(|address| Ports::new(&address, &options).ok()) {
        if let Ok(seen) = serde_json::from_slice::<ContainerInspectResponse>(bytes) {
            drop(inspect::is_called(&seen, "game"));
            drop(inspect::health(&seen));
            if let Ok(container) = inspect::container(seen, &ports) {
                assert!(!container.id.is_empty());
            }
        }
        if let Ok(seen) = serde_json::from_slice::<ContainerSummary>(bytes) {
            drop(inspect::listed(seen, &ports));
        }
    }
    if let Ok(seen) = serde_json::from_slice::<EventMessage>(bytes) {
        drop(inspect::event(seen));
    }
    if let Ok(line) = serde_json::from_slice::<CreateImageInfo>(bytes) {
        pull::read(&line);
    }
    let mut tail = Tail::default();
    tail.push(bytes);
    assert!(tail.into_text(5).lines().count() <= 5);
    let words = String::from_utf8_lossy(bytes);
    assert!(!tidy(&words).chars().any(char::is_control));
    registry::fuzzed::words(&words);
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        registry::fuzzed::headers(&HeaderMap::from_iter([(WWW_AUTHENTICATE, value.clone()), (RETRY_AFTER, value)]));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Address::parse(text));
    }
}
