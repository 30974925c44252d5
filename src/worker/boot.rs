//! What a replica waits for and checks before it runs: Redis, the server's settings, the engine, the group.

use tokio::time::{Instant, sleep};

use super::WORKER;
use super::config::ReplicaConfig;
use super::error::RunError;
use super::handler::Handler;
use super::stages::backoff::CALLS;
use super::troubles::{Trouble, Troubles};
use crate::redis::server::{self, Danger};
use crate::redis::{Connection, Kind, RedisError, Role};
use crate::stream::Member;
use crate::stream::adopt::{Adoption, AdoptionState};
use crate::stream::hand_back::Left;
use crate::stream::presence::About;

/// A connection; waits until there is one.
pub(super) async fn connect(
    config: &ReplicaConfig,
    role: Role,
    consumer: &str,
    troubles: &mut Troubles,
) -> Result<Connection, RunError> {
    let (name, url) = (format!("startjobs:{consumer}"), &config.redis.display_url);
    let opened = Connection::open(&config.redis, role, &name, |error| {
        troubles.met(Trouble::Redis, &format!("no connection to {url}: {error}"), Instant::now());
    })
    .await
    .map_err(|error| RunError::Unusable(format!("redis-url {url}: {error}")))?;
    troubles.over(Trouble::Redis, Instant::now());
    Ok(opened)
}

/// A server that may lose data is logged, and refused if `strict` is on.
pub(super) async fn check_server(
    config: &ReplicaConfig,
    commands: &Connection,
    troubles: &mut Troubles,
) -> Result<(), RunError> {
    let dangers = loop {
        match server::dangers(commands).await {
            Ok(dangers) => break dangers,
            Err(error) => wait_out(Trouble::Redis, &error.text, troubles).await,
        }
    };
    troubles.over(Trouble::Redis, Instant::now());
    if dangers.contains(&Danger::Cluster) {
        return Err(RunError::Unusable(format!(
            "{} is a node of a Redis Cluster, which this version cannot use",
            config.redis.display_url
        )));
    }
    for danger in &dangers {
        tracing::warn!(worker = WORKER, stream = config.stream.jobs, %danger, "Redis may lose data");
    }
    if config.strict && !dangers.is_empty() {
        let lines: Vec<String> = dangers.iter().map(ToString::to_string).collect();
        return Err(RunError::Strict(lines.join("\n  ")));
    }
    Ok(())
}

/// Waits until the engine answers.
pub(super) async fn await_engine(handler: &dyn Handler, troubles: &mut Troubles) {
    while let Err(error) = handler.is_up().await {
        wait_out(Trouble::Engine, &error, troubles).await;
    }
    troubles.over(Trouble::Engine, Instant::now());
}

/// Makes the group usable. An offset that another client moved while other replicas seem present is looked at again until
/// those that died have expired: only replicas that live keep it from being taken over.
pub(super) async fn adopt(
    member: &Member,
    config: &ReplicaConfig,
    troubles: &mut Troubles,
) -> Result<Adoption, RunError> {
    let claim_idle = config.worker.claim_idle;
    let patience = Instant::now() + claim_idle + CALLS.max;
    loop {
        match member.adopt(claim_idle).await {
            Ok(adoption) => {
                troubles.over(Trouble::Redis, Instant::now());
                troubles.over(Trouble::Group, Instant::now());
                if adoption.state != AdoptionState::Foreign || Instant::now() >= patience {
                    return Ok(adoption);
                }
                sleep(CALLS.min).await;
            }
            Err(RedisError { kind: Kind::BadOffset, text }) => {
                return Err(RunError::BadOffset(text));
            }
            Err(error) => {
                let trouble = if error.kind == Kind::Unreachable { Trouble::Redis } else { Trouble::Group };
                wait_out(trouble, &error.text, troubles).await;
            }
        }
    }
}

/// Leaving a name that is spent is not tried more often than this where Redis answers and refuses: nothing depends on it.
const LEAVE_TRIES: u32 = 10;

/// Leaves the group under a name that is spent; nothing where Redis refuses.
pub(super) async fn leave(member: &Member, about: &About, troubles: &mut Troubles) -> Option<Left> {
    let mut refused = 0;
    while refused < LEAVE_TRIES {
        match member.leave(about).await {
            Ok(left) => {
                troubles.over(Trouble::Redis, Instant::now());
                troubles.over(Trouble::Group, Instant::now());
                return Some(left);
            }
            Err(error) => {
                let is_away = error.kind == Kind::Unreachable;
                refused += u32::from(!is_away);
                let trouble = if is_away { Trouble::Redis } else { Trouble::Group };
                wait_out(trouble, &error.text, troubles).await;
            }
        }
    }
    None
}

async fn wait_out(trouble: Trouble, err: &str, troubles: &mut Troubles) {
    let times = troubles.met(trouble, err, Instant::now());
    sleep(CALLS.delay(times, fastrand::f64())).await;
}
