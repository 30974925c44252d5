//! The group's scripts, call by call, on real redis-servers.

// what becomes of a batch
mod settle;
// what is held, and what is found
mod held;
// what fell out of the group
mod walk;
// each condition of the scripts
mod guards;
// what a sick host counted and tried
mod withdrawn;
// handing over
mod hand_over;
// the keys that the scripts name
mod keys;

use std::sync::Arc;
use std::time::Duration;

use startjobs::contract::dead_letter::{DeadLetter, Kept, Reason};
use startjobs::contract::job_result::{Answer, JobResult, SuccessKind};
use startjobs::embedded::redis_server::RedisServer;
use startjobs::redis::{Connection, Role, Value};
use startjobs::settings::Settings;
use startjobs::stream::entry_id::EntryId;
use startjobs::stream::presence::About;
use startjobs::stream::settle::{Ending, Outcome, Terms};
use startjobs::stream::{Group, Member};

use crate::support::servers;
use crate::support::world::load;

const JOBS: &str = "runtime:start_jobs";
const RESULTS: &str = "runtime:job_results";
const MIRROR: &str = "rtmanager:stream_offsets:startjobs";
const GROUP: &str = "rtmanager.startjobs";
const CLAIM_IDLE: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3_600);

/// What a replica says about itself.
fn about() -> About {
    About { claim_idle_ms: u64::try_from(CLAIM_IDLE.as_millis()).ok(), ..About::default() }
}

/// A server, the group of one consumer, and the settings of both.
struct Stream {
    settings: Settings,
    member: Member,
    connection: Arc<Connection>,
    /// Ends with the rest.
    server: RedisServer,
}

impl Stream {
    async fn new() -> Self {
        Self::on(RedisServer::start().expect("redis-server starts")).await
    }

    async fn on(server: RedisServer) -> Self {
        let settings = load(&[("redis-url".to_owned(), server.url())]);
        let connection = connect(&settings).await;
        let member = Group::new(&settings.stream, Arc::clone(&connection)).member("me");
        member.adopt(CLAIM_IDLE).await.expect("a group");
        Self { settings, member, connection, server }
    }

    async fn redis(&self, words: &[&str]) -> Value {
        self.connection.raw(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The group as another consumer sees it.
    fn other(&self, consumer: &str) -> Member {
        Group::new(&self.settings.stream, Arc::clone(&self.connection)).member(consumer)
    }

    /// The group through a user who may do everything but this.
    async fn narrow(&self, consumer: &str, rights: &[&str]) -> Member {
        let words = ["ACL", "SETUSER", "narrow", "reset", "on", ">x", "~*", "+@all"];
        self.redis(&[&words[..], rights].concat()).await;
        let url = self.server.url().replace("redis://", "redis://narrow:x@");
        let settings = load(&[("redis-url".to_owned(), url)]);
        Group::new(&settings.stream, connect(&settings).await).member(consumer)
    }

    async fn append(&self, id: &str) -> EntryId {
        self.redis(&["XADD", JOBS, id, "game_id", "g"]).await.as_string().expect("an id").parse().expect("an id")
    }

    async fn read(&self) {
        self.read_as("me").await;
    }

    async fn read_as(&self, consumer: &str) {
        self.redis(&["XREADGROUP", "GROUP", GROUP, consumer, "STREAMS", JOBS, ">"]).await;
    }

    async fn length(&self, stream: &str) -> i64 {
        self.redis(&["XLEN", stream]).await.as_i64().expect("a length")
    }

    async fn outcomes(&self) -> i64 {
        self.length(RESULTS).await
    }

    /// Id, owner and deliveries of each pending entry.
    async fn pending(&self) -> Vec<(String, String, u64)> {
        let rows: Vec<(String, String, u64, u64)> =
            self.redis(&["XPENDING", JOBS, GROUP, "-", "+", "1000"]).await.convert().expect("a list");
        rows.into_iter().map(|(id, owner, _, deliveries)| (id, owner, deliveries)).collect()
    }

    /// One run of the janitor, due or not.
    async fn tidy(&self) -> Vec<String> {
        self.redis(&["HDEL", &format!("{JOBS}:sweep"), "janitor_due"]).await;
        self.member.tidy(CLAIM_IDLE, CLAIM_IDLE, HOUR).await.expect("tidied").expect("it was due").orphans
    }

    /// How often a command has been called, by scripts too, since the last `CONFIG RESETSTAT`.
    async fn calls(&self, command: &str) -> u64 {
        let info = self.redis(&["INFO", "commandstats"]).await.as_string().expect("text");
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|rest| rest.split(',').next()).map_or(0, |calls| calls.parse().expect("a number"))
    }
}

/// The test on every version of Redis that there is here.
async fn each_version(test: impl AsyncFn(Stream)) {
    for server in servers::all() {
        test(Stream::on(server).await).await;
    }
}

async fn connect(settings: &Settings) -> Arc<Connection> {
    let opened = Connection::open(&settings.redis, Role::Commands, "startjobs:scripts", |error| {
        panic!("no connection: {error}")
    });
    Arc::new(opened.await.expect("a connection"))
}

/// The terms of a batch of a consumer that holds so many entries.
fn terms(held: usize, may_have_attempts: bool) -> Terms {
    Terms { held, may_have_attempts, marks_index: true }
}

fn answered(id: EntryId) -> (EntryId, Ending) {
    let answer = Answer::Success {
        container_id: "c".to_owned(),
        engine_endpoint: "http://g:8080".to_owned(),
        kind: SuccessKind::Started,
    };
    let result = JobResult {
        game_id: "g".to_owned(),
        answer,
        source_ref: id.to_string(),
        requested_at_ms: 0,
        finished_at_ms: 1,
        attempt: 1,
    };
    (id, Ending::Outcome(Outcome::of(|push| result.each_value(push))))
}

fn malformed(id: EntryId) -> (EntryId, Ending) {
    let letter = DeadLetter {
        source_ref: id.to_string(),
        reason: Reason::Malformed,
        detail: "missing image_ref".to_owned(),
        deliveries: 1,
        crashes: 0,
        failures: 0,
        dead_at_ms: 1,
        consumer: "me".to_owned(),
        original: Kept::default(),
    };
    (id, Ending::Dead(letter))
}
