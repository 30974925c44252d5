//! One question to one sentinel, and the question to a server whether it is a master itself.

use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::time::timeout;

use super::choose::Master;
use crate::redis::config::{Address, Config};
use crate::redis::place::HostPort;
use crate::redis::{Connection, Kind, RedisError, Role, Value};

/// Connecting to a server that sentinels name, and its answer.
const TRIED_WITHIN: Duration = Duration::from_secs(1);

/// Which master one sentinel names.
pub(super) async fn named_by(sentinel: &Connection, service: &str) -> Result<Master, RedisError> {
    // The sentinel that leads a failover keeps the old address in the one answer until all replicas follow, and has the new one
    // in the other. Only the first has the epoch.
    let (fields, at) = join(
        sentinel.raw(&["SENTINEL", "MASTER", service]),
        sentinel.raw(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service]),
    )
    .await;
    let explained = |error| explained(error, sentinel, service);
    let (fields, at) = (fields.map_err(explained)?, at.map_err(explained)?);
    master_of(fields, at)
}

fn master_of(fields: Value, at: Value) -> Result<Master, RedisError> {
    let (host, port): (String, u64) = at.convert()?;
    let port = u16::try_from(port).map_err(|_| RedisError::unexpected("a port that is none"))?;
    let fields: Vec<(String, Value)> = fields.pairs()?;
    let epoch = fields.into_iter().find(|(name, _)| name == "config-epoch");
    let (_, epoch) = epoch.ok_or_else(|| RedisError::unexpected("a master without its config-epoch"))?;
    // An IPv6 address has its brackets everywhere here.
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(Master { at: HostPort { host, port }, epoch: epoch.convert()? })
}

/// In words that name what to correct.
fn explained(error: RedisError, sentinel: &Connection, service: &str) -> RedisError {
    // Calls fail without a reason while a connection is refused.
    let error = sentinel.refusal().unwrap_or(error);
    let text = if error.text.contains("No such master") {
        format!("it knows no service {service}; correct the service in redis-url")
    } else if error.text.contains("unknown command") {
        "what answers there is not a sentinel; correct redis-url".to_owned()
    } else if error.kind == Kind::Denied {
        format!("{}; correct redis-sentinel-user and redis-sentinel-password-file", error.text)
    } else {
        error.text
    };
    RedisError { kind: error.kind, text }
}

/// What one sentinel knows of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The master that it names.
    pub(crate) master: Master,
    /// How many replicas of it that sentinel knows.
    pub(crate) replicas: u64,
    /// How many other sentinels it knows.
    pub(crate) others: u64,
    /// How many of them have to agree that the master is down.
    pub(crate) quorum: u64,
    /// What it holds of the master, in its own words.
    pub(crate) flags: String,
}

/// What each sentinel of these settings knows, asked for at most `limit`; nothing where they name a server.
pub(crate) async fn survey(settings: &Config, limit: Duration) -> Vec<(HostPort, Result<Seen, RedisError>)> {
    let Address::Sentinel { sentinels, service } = &settings.address else { return Vec::new() };
    let asked = sentinels.iter().map(async |at| (at.clone(), seen_by(&settings.of_sentinel(at), service, limit).await));
    join_all(asked).await
}

async fn seen_by(settings: &Config, service: &str, limit: Duration) -> Result<Seen, RedisError> {
    let mut last = RedisError::unreachable("timed out");
    let asking = async {
        let sentinel = Connection::start_with(settings, Role::Sentinel, "startjobs:doctor", None)?;
        let sentinel = sentinel.opened(|error| last = error.clone()).await?;
        let master = named_by(&sentinel, service).await?;
        let fields: Vec<(String, Value)> = sentinel.raw(&["SENTINEL", "MASTER", service]).await?.pairs()?;
        let text = |name: &str| {
            let field = fields.iter().find(|(known, _)| known == name);
            field.and_then(|(_, value)| value.as_string()).unwrap_or_default()
        };
        let number = |name: &str| text(name).parse().unwrap_or_default();
        let (replicas, others, quorum) = (number("num-slaves"), number("num-other-sentinels"), number("quorum"));
        Ok(Seen { master, replicas, others, quorum, flags: text("flags") })
    };
    match timeout(limit, asking).await {
        Ok(seen) => seen,
        Err(_) => Err(last),
    }
}

/// Nothing where the server says that it is a master, or does not allow the question.
pub(super) async fn is_master(settings: &Config) -> Result<(), RedisError> {
    let mut last = RedisError::unreachable("timed out");
    let trying = async {
        let connection = Connection::start_with(settings, Role::Commands, "startjobs:role", None)?;
        connection.opened(|error| last = error.clone()).await?.raw(&["ROLE"]).await
    };
    let Ok(role) = timeout(TRIED_WITHIN, trying).await else { return Err(last) };
    let (role, _): (String, Value) = match role {
        Ok(reply) => reply.convert()?,
        Err(error) if error.text.contains("NOPERM") => return Ok(()),
        Err(error) => return Err(error),
    };
    if role == "master" { Ok(()) } else { Err(RedisError::unreachable("it is a replica")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Value {
        Value(fred::types::Value::Array(words.iter().map(|&word| word.into()).collect()))
    }

    #[test]
    fn the_address_is_of_one_answer_and_the_epoch_of_the_other() {
        let fields = || list(&["name", "games", "ip", "10.0.0.1", "port", "6379", "config-epoch", "7"]);
        let master = master_of(fields(), list(&["10.0.0.2", "6380"])).expect("a master");
        assert_eq!((master.to_string().as_str(), master.epoch), ("10.0.0.2:6380", 7));
        assert_eq!(master_of(fields(), list(&["::1", "6380"])).expect("a master").to_string(), "[::1]:6380");
        assert!(master_of(list(&["name", "games"]), list(&["10.0.0.2", "6380"])).is_err());
        assert!(master_of(fields(), list(&["10.0.0.2", "70000"])).is_err());
        assert!(master_of(fields(), list(&[])).is_err());
    }
}
