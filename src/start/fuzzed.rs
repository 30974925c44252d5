//! Records of games and hosts, for the fuzzer.

use std::time::Duration;

use super::record::{HostLine, Hosts, RecordView};

/// A record of a game, or the line of a host.
pub(crate) fn places(text: &str) {
    drop(serde_json::from_str::<RecordView>(text));
    if let Some(line) = HostLine::parse(text) {
        let hosts = Hosts { now_ms: 1, hosts: [("h".to_owned(), line)].into(), unreadable: Vec::new() };
        hosts.standing("h", Duration::MAX);
    }
}
