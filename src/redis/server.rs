//! What a server is, and whether it may lose data: checked once when a worker starts.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::{Connection, Kind, RedisError};

/// Why the server may lose data or break a promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Danger {
    /// Older than what the scripts need.
    #[error("redis {0} is older than 6.2: upgrade it")]
    TooOld(String),
    /// Its keys are spread over nodes, and a script may touch only those of one.
    #[error("a node of a Redis Cluster, which this version cannot use: name a single server in redis-url")]
    Cluster,
    /// Keys may vanish when memory runs out.
    #[error("maxmemory-policy is {0}: set it to noeviction, or Redis may remove the streams when memory is full")]
    Evicts(String),
    /// A crash loses everything since the last snapshot, if there is one at all.
    #[error(
        "the append-only file is off: set appendonly yes, or a crash loses every job and outcome since the last snapshot"
    )]
    NoAppendOnlyFile,
    /// The append-only file cannot be written.
    #[error("the append-only file cannot be written ({0}): check the server's disk")]
    AofFailing(String),
    /// A master that has lost its replicas, and that the others have replaced, still takes writes.
    #[error(
        "min-replicas-to-write is 0: an isolated master goes on accepting work that will be lost; set it to 1, and min-replicas-max-lag to a few seconds"
    )]
    NoMinReplicas,
    /// Ages and deadlines are measured against two clocks.
    #[error("the server's clock differs from this machine's by {0:?}: set both by NTP")]
    ClockSkew(Duration),
    /// The server does not let us look.
    #[error("the server does not answer INFO ({0}): its version, memory policy and persistence are unknown")]
    Unknown(String),
}

/// More than this between two clocks is worth a warning.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(2);

/// Looks at the server. An error means that it could not be reached.
pub(crate) async fn dangers(connection: &Connection) -> Result<Vec<Danger>, RedisError> {
    let info = match connection.info().await {
        Ok(info) => info,
        Err(error) if error.kind == Kind::Unreachable => return Err(error),
        Err(error) => return Ok(vec![Danger::Unknown(error.text)]),
    };
    let mut dangers = dangers_of(&info);
    if connection.follows_sentinels() && !has_min_replicas(&info) {
        dangers.push(Danger::NoMinReplicas);
    }
    let asked = SystemTime::now();
    if let Ok(server) = connection.time_us().await.map(|us| SystemTime::UNIX_EPOCH + Duration::from_micros(us)) {
        let here = asked + asked.elapsed().unwrap_or_default() / 2;
        let skew = here.duration_since(server).unwrap_or_else(|error| error.duration());
        if skew > CLOCK_SKEW_MAX {
            dangers.push(Danger::ClockSkew(Duration::from_millis(u64::try_from(skew.as_millis()).unwrap_or(u64::MAX))));
        }
    }
    Ok(dangers)
}

/// Does the master refuse writes without replicas? It then tells how many it has.
fn has_min_replicas(info: &str) -> bool {
    info.lines().any(|line| line.starts_with("min_slaves_good_slaves:"))
}

/// What INFO's text says.
fn dangers_of(info: &str) -> Vec<Danger> {
    let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
    let field = |name: &str| fields.get(name).copied().unwrap_or("");
    let mut dangers = Vec::new();
    let version = field("redis_version");
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(2)) {
        dangers.push(Danger::TooOld(version.to_owned()));
    }
    if field("cluster_enabled") == "1" {
        dangers.push(Danger::Cluster);
    }
    let policy = field("maxmemory_policy");
    if !policy.is_empty() && policy != "noeviction" {
        dangers.push(Danger::Evicts(policy.to_owned()));
    }
    if field("aof_enabled") == "1" {
        let status = field("aof_last_write_status");
        if !status.is_empty() && status != "ok" {
            dangers.push(Danger::AofFailing(status.to_owned()));
        }
    } else {
        dangers.push(Danger::NoAppendOnlyFile);
    }
    dangers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_danger_is_seen_and_a_good_server_has_none() {
        let good =
            "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\naof_last_write_status:ok\r\n";
        assert_eq!(dangers_of(good), []);
        assert_eq!(dangers_of(&good.replace("7.0.15", "6.0.20")), [Danger::TooOld("6.0.20".into())]);
        assert_eq!(dangers_of(&good.replace("noeviction", "allkeys-lru")), [Danger::Evicts("allkeys-lru".into())]);
        assert_eq!(dangers_of(&good.replace(":ok", ":err")), [Danger::AofFailing("err".into())]);
        assert_eq!(dangers_of(&good.replace("enabled:1", "enabled:0")), [Danger::NoAppendOnlyFile]);
        assert_eq!(dangers_of("redis_version:10.0.0\r\naof_enabled:1\r\n"), []);
        // Valkey gives the version of Redis that it is compatible with, and its own beside it.
        assert_eq!(dangers_of(&good.replace("7.0.15", "7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1")), []);
        assert_eq!(dangers_of(&format!("{good}cluster_enabled:0\r\n")), []);
        assert_eq!(dangers_of(&format!("{good}cluster_enabled:1\r\n")), [Danger::Cluster]);
    }
}
