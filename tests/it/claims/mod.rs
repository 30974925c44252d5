//! Who is dead, what a death counts, and who may claim: the claim script on every supported server, with presences and
//! idle times written by hand, so that no test depends on how fast the machine is; and fleets that are killed.

// who is dead
mod dead;
// fleets by hand whose replicas keep subscriptions
mod listeners;
// who is dead at once, because its subscription has ended
mod watch;
// what such a death counts, and when that is withdrawn
mod charges;
// replicas that come back, and what the server refuses to tell them
mod comeback;
// random fleets of them
mod random_fleets;
// what a death counts
mod counted;
// suspects run alone, on as many replicas as are empty
mod suspects;
// runs against single entries
mod equal;
// single rights are withdrawn
mod rights;
// replicas that leave
mod leaving;
// clocks that are set while real replicas work
mod clock;
// outages and kill storms with real replicas
mod storms;

use std::sync::Arc;
use std::time::Duration;

use startjobs::embedded::redis_server::RedisServer;
use startjobs::redis::{Connection, Role, Value};
use startjobs::settings::Settings;
use startjobs::stream::claim::{Aim, Sweep, Swept};
use startjobs::stream::presence::About;
use startjobs::stream::renew::ReplicaState;
use startjobs::stream::{Group, Member};

use crate::support::servers;
use crate::support::sweeps::by_silence;
use crate::support::world::load;

const JOBS: &str = "runtime:start_jobs";
const GROUP: &str = "rtmanager.startjobs";
const REPLICAS: &str = "runtime:start_jobs:replicas";
const ATTEMPTS: &str = "runtime:start_jobs:attempts";
const SWEEP: &str = "runtime:start_jobs:sweep";
const DEAD: &str = "runtime:start_jobs:dead";

/// So long that nothing here takes as long.
const CLAIM_IDLE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(1);
const HOUR_MS: i64 = 3_600_000;

fn server(version: &str) -> Option<RedisServer> {
    servers::fetched(version).map(|program| RedisServer::start_with(&program, &[]).expect("this redis-server starts"))
}

/// The test on every supported server.
macro_rules! on_every_server {
    ($($name:ident)+) => {
        mod on_7_0 { $(#[tokio::test] async fn $name() {
            super::$name(crate::claims::Stream::new(startjobs::embedded::redis_server::RedisServer::start().expect("redis-server starts")).await).await;
        })+ }
        mod on_6_2 { $(#[tokio::test] async fn $name() {
            if let Some(redis) = crate::claims::server("6.2") { super::$name(crate::claims::Stream::new(redis).await).await; }
        })+ }
        mod on_8_2 { $(#[tokio::test] async fn $name() {
            if let Some(redis) = crate::claims::server("8.2") { super::$name(crate::claims::Stream::new(redis).await).await; }
        })+ }
    };
}
pub(crate) use on_every_server;

/// A presence record as it is written by hand; times in milliseconds before now, negative ones in the future.
#[derive(Debug, Clone, Copy)]
struct Presence {
    seen: i64,
    state: &'static str,
    claim_idle: i64,
    since: i64,
    born: i64,
}

/// A replica that was heard of so long ago, and had been there for long.
fn seen(seen: i64) -> Presence {
    Presence { seen, state: "running", claim_idle: 60_000, since: HOUR_MS, born: HOUR_MS }
}

/// What a replica says about itself.
fn about() -> About {
    About { claim_idle_ms: u64::try_from(CLAIM_IDLE.as_millis()).ok(), ..About::default() }
}

/// A server and the group on it.
struct Stream {
    settings: Settings,
    connection: Arc<Connection>,
    group: Group,
    server: RedisServer,
}

impl Stream {
    async fn new(server: RedisServer) -> Self {
        let settings = load(&[("redis-url".to_owned(), server.url())]);
        let connection = connect(&settings).await;
        let group = Group::new(&settings.stream, Arc::clone(&connection));
        let stream = Self { settings, connection, group, server };
        stream.as_consumer("me").adopt(CLAIM_IDLE).await.expect("a group");
        // The judge has been there for long.
        stream.present("me", seen(0)).await;
        stream
    }

    fn as_consumer(&self, consumer: &str) -> Member {
        self.group.member(consumer)
    }

    async fn redis(&self, words: &[&str]) -> Value {
        self.connection.raw(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The server's clock in milliseconds.
    async fn now(&self) -> i64 {
        let time: Vec<String> = self.redis(&["TIME"]).await.convert().expect("two numbers");
        let number = |at: usize| time[at].parse::<i64>().expect("a number");
        number(0) * 1000 + number(1) / 1000
    }

    async fn present(&self, name: &str, presence: Presence) {
        let now = self.now().await;
        let Presence { seen, state, claim_idle, since, born } = presence;
        let (seen, since, born) = (now - seen, now - since, now - born);
        let value = format!(
            "{seen} {state} {{\"born_ms\":{born},\"since_ms\":{since},\"host\":\"h\",\"claim_idle_ms\":{claim_idle}}}"
        );
        self.redis(&["HSET", REPLICAS, name, &value]).await;
    }

    /// A member of the JSON of a presence record.
    async fn presence_member(&self, name: &str, member: &str) -> i64 {
        let value = self.redis(&["HGET", REPLICAS, name]).await.as_string().expect("a presence");
        let json = value.splitn(3, ' ').nth(2).expect("three parts");
        let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
        json[member].as_i64().expect("a number")
    }

    /// One more entry that this consumer has had for so long.
    async fn held(&self, consumer: &str, idle: i64) -> String {
        let id = self.redis(&["XADD", JOBS, "*", "game_id", "g", "image_ref", "i"]).await.as_string().expect("an id");
        self.redis(&["XREADGROUP", "GROUP", GROUP, consumer, "COUNT", "1", "STREAMS", JOBS, ">"]).await;
        self.lies(consumer, &id, idle).await;
        id
    }

    /// The entry is this consumer's and has lain for so long.
    async fn lies(&self, consumer: &str, id: &str, idle: i64) {
        self.redis(&["XCLAIM", JOBS, GROUP, consumer, "0", id, "IDLE", &idle.to_string(), "JUSTID"]).await;
    }

    async fn sweep_as(&self, consumer: &str, aim: Aim) -> Swept {
        let swept = self.as_consumer(consumer).sweep(aim, by_silence(CLAIM_IDLE, INTERVAL, 100, true)).await;
        swept.unwrap_or_else(|error| panic!("{aim:?}: {error}")).swept
    }

    /// A sweep of `me` that is due, for ordinary entries.
    async fn take(&self) -> Sweep {
        self.due().await;
        match self.sweep_as("me", Aim::Take).await {
            Swept::Done(sweep) => sweep,
            Swept::Suspects | Swept::NotDue | Swept::Found | Swept::DeclaredDead => Sweep::default(),
        }
    }

    async fn due(&self) {
        self.redis(&["HSET", SWEEP, "due", "0", "cursor", "-"]).await;
    }

    /// A suspect, claimed by a replica that holds nothing else.
    async fn take_alone(&self, consumer: &str) -> Sweep {
        match self.sweep_as(consumer, Aim::Alone).await {
            Swept::Done(sweep) => sweep,
            other => panic!("not a claim: {other:?}"),
        }
    }

    /// What is written down about an entry: crashes, alone with whom, how often excused.
    async fn written(&self, id: &str) -> (u64, Option<String>, u64) {
        let (alone, excused) = (format!("alone:{id}"), format!("excused:{id}"));
        let values: Vec<Value> = self.redis(&["HMGET", ATTEMPTS, id, &alone, &excused]).await.convert().expect("three");
        let attempts = values[0].as_string().unwrap_or_else(|| "0 0 0".to_owned());
        let crashes = attempts.split(' ').next().expect("split answers at least one").parse().expect("a number");
        let excused = values[2].as_string().map_or(0, |text| text.parse().expect("a number"));
        (crashes, values[1].as_string(), excused)
    }

    async fn consumers(&self) -> Vec<String> {
        let list: Vec<Vec<Value>> =
            self.redis(&["XINFO", "CONSUMERS", JOBS, GROUP]).await.convert().expect("consumers");
        list.into_iter().filter_map(|fields| fields.get(1).and_then(Value::as_string)).collect()
    }

    /// Renews as a replica does.
    async fn renew_as(&self, consumer: &str) {
        self.as_consumer(consumer).renew(ReplicaState::Running, &about(), None, &[]).await.expect("renewed");
    }
}

async fn connect(settings: &Settings) -> Arc<Connection> {
    let opened =
        Connection::open(&settings.redis, Role::Commands, "startjobs:claims", |error| panic!("no connection: {error}"));
    Arc::new(opened.await.expect("a connection"))
}

/// The ids of what was claimed.
fn ids(sweep: &Sweep) -> Vec<String> {
    sweep.claimed.iter().map(|delivery| delivery.id.to_string()).collect()
}
