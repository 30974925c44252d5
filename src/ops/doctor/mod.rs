//! What is wrong with the surroundings, each finding with what helps. Looks only; tries nothing that changes anything.

// what a person who helps needs to see
pub(crate) mod bundle;
// what was found
mod finding;
// Redis: version, persistence, memory, clock, latency
mod redis;
// where its password and the keys of TLS are kept
mod secrets;
// which images may run
mod policy;
// what the user may do there
mod rights;
// what the sentinels say
mod sentinels;
// keys, group, mirror, replicas
mod fleet;
// the container engine, its containers beside the records, and this machine
mod docker;
// what its containers are kept from
mod containers;
mod engine;
mod machine;

use std::time::Duration;

pub(crate) use engine::{Compared, EngineSeen, Fleets, engine_seen};
pub(crate) use finding::{DoctorReport, Finding, Level};
pub(crate) use policy::policy;
pub(crate) use secrets::{secret_file, secrets};

use super::View;
use super::connect::within;
use super::refusal::Why;
use crate::engine::config::EngineKind;
use crate::policy::file::load;
use crate::redis::Config;
use crate::redis::sentinel::survey;
use crate::settings::Settings;

/// The settings: what is no error and yet looks like a mistake.
pub(crate) fn settings(warnings: &[String]) -> Vec<Finding> {
    if warnings.is_empty() {
        return vec![Finding::ok("settings", "all valid")];
    }
    let remedy = "look at `startjobs config show --origin`";
    warnings.iter().map(|warning| Finding::warn("settings", warning.clone(), remedy)).collect()
}

/// No connection at all.
pub(crate) fn no_redis(url: &str, error: &str) -> Finding {
    let found = format!("no connection to {url}: {error}");
    match Why::of_words(error) {
        // A server that cannot save answers no PING, with which a connection without a password begins.
        Some(why) => Finding::fail("writes", found, why.remedy()),
        None => Finding::fail("redis", found, "start Redis, or correct redis-url and its password"),
    }
}

/// Can others read the traffic to Redis?
pub(crate) fn encryption(redis: &Config) -> Finding {
    const ABOUT: &str = "redis-tls";
    match &redis.tls {
        Some(tls) => Finding::ok(ABOUT, tls.to_string()),
        None if redis.address.is_local() => Finding::ok(ABOUT, "not encrypted, and does not leave this machine"),
        None => Finding::warn(
            ABOUT,
            "not encrypted: the password and every job can be read on the way",
            "use rediss://, or encrypt the network in between",
        ),
    }
}

/// What the sentinels say, where the settings name sentinels; each within `limit`.
pub(crate) async fn sentinels(redis: &Config, limit: Duration) -> Vec<Finding> {
    sentinels::sentinels(&survey(redis, limit).await)
}

/// Everything in and about Redis; each part within `limit`.
pub(crate) async fn redis(view: &View, limit: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let parts: [(&'static str, futures_util::future::BoxFuture<'_, _>); 4] = [
        ("redis", Box::pin(redis::server(view))),
        ("latency", Box::pin(redis::latency(view))),
        ("rights", Box::pin(rights::rights(view))),
        ("group", Box::pin(fleet::fleet(view))),
    ];
    for (about, part) in parts {
        match within(limit, part).await {
            Ok(found) => findings.extend(found),
            Err(error) => {
                let remedy = "look at the server's log and at the rights of the user";
                findings.push(Finding::fail(about, error.to_string(), remedy));
            }
        }
    }
    findings
}

/// The container engine and this machine; each call within `limit`.
pub(crate) async fn engine(settings: &Settings, image: Option<&str>, limit: Duration) -> Vec<Finding> {
    // One that cannot be read is a finding of its own.
    let policy = settings.policy.file.as_deref().and_then(|file| load(file).ok()).map(|loaded| loaded.read.policy);
    let mut findings = match settings.engine.kind {
        EngineKind::Docker => docker::docker(&settings.engine, policy.as_ref(), image, limit).await,
        EngineKind::Simulated => vec![Finding::ok("engine", "simulated: containers exist only in Redis")],
    };
    findings.extend(machine::machine(settings.worker.slots));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::Address;

    #[test]
    fn a_password_on_its_way_for_everybody_to_read_is_warned_of() {
        let redis = |host: &str| Config {
            display_url: String::new(),
            address: Address::Tcp { host: host.to_owned(), port: 6_379 },
            database: None,
            user: None,
            password: None,
            password_file: None,
            tls: None,
            sentinel: crate::redis::config::SentinelAccess::default(),
        };
        assert_eq!(encryption(&redis("redis.example")).level, Level::Warn);
        assert_eq!(encryption(&redis("localhost")).level, Level::Ok);
    }
}
