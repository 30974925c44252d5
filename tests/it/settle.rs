//! The settle script, call by call, on a real redis-server: what it must not do when Redis refuses a part of it.

use std::sync::Arc;
use std::time::Duration;

use startjobs::contract::job_result::{Answer, JobResult, SuccessKind};
use startjobs::embedded::redis_server::RedisServer;
use startjobs::redis::{Connection, Kind, Role, Value};
use startjobs::settings::Settings;
use startjobs::stream::Group;
use startjobs::stream::entry_id::EntryId;
use startjobs::stream::settle::{Ending, Settled};

use crate::support::world::load;

const JOBS: &str = "runtime:start_jobs";
const RESULTS: &str = "runtime:job_results";
const MIRROR: &str = "rtmanager:stream_offsets:startjobs";
const GROUP: &str = "rtmanager.startjobs";
const CLAIM_IDLE: Duration = Duration::from_secs(5);

/// A server, the group of one consumer, and the settings of both.
struct Stream {
    settings: Settings,
    group: Group,
    connection: Arc<Connection>,
    /// Ends with the rest.
    server: RedisServer,
}

impl Stream {
    async fn new() -> Self {
        let server = RedisServer::start().expect("redis-server starts");
        let settings = load(&[("redis-url".to_owned(), server.url())]);
        let connection = connect(&settings).await;
        let group = Group::new(&settings.stream, "me", Arc::clone(&connection));
        group.adopt(CLAIM_IDLE).await.expect("a group");
        Self { settings, group, connection, server }
    }

    async fn redis(&self, words: &[&str]) -> Value {
        self.connection.raw(words).await.expect("Redis answers")
    }

    async fn append(&self, id: &str) -> EntryId {
        self.redis(&["XADD", JOBS, id, "game_id", "g"]).await.as_string().expect("an id").parse().expect("an id")
    }

    async fn read(&self) {
        self.redis(&["XREADGROUP", "GROUP", GROUP, "me", "STREAMS", JOBS, ">"]).await;
    }

    async fn outcomes(&self) -> i64 {
        self.redis(&["XLEN", RESULTS]).await.as_i64().expect("a length")
    }

    async fn pending(&self) -> Vec<Value> {
        self.redis(&["XPENDING", JOBS, GROUP, "-", "+", "10"]).await.convert().expect("a list")
    }
}

async fn connect(settings: &Settings) -> Arc<Connection> {
    let opened =
        Connection::open(&settings.redis, Role::Commands, "startjobs:settle", |error| panic!("no connection: {error}"));
    Arc::new(opened.await.expect("a connection"))
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
    (id, Ending::Outcome(result))
}

#[tokio::test]
async fn without_an_answer_of_the_ledger_nothing_is_published() {
    let stream = Stream::new().await;
    let id = stream.append("*").await;
    stream.read().await;
    let batch = [answered(id)];
    assert_eq!(stream.group.settle(&batch, 1, false).await.expect("settled").settled, [Settled::Done]);
    // Settled, and pending once more: as after a group that was lost.
    stream.redis(&["XGROUP", "SETID", JOBS, GROUP, "0"]).await;
    stream.read().await;
    stream.redis(&["ACL", "SETUSER", "narrow", "on", ">x", "~*", "+@all", "-smismember"]).await;
    let url = stream.server.url().replace("redis://", "redis://narrow:x@");
    let narrow = connect(&load(&[("redis-url".to_owned(), url)])).await;
    let refused = Group::new(&stream.settings.stream, "me", narrow).settle(&batch, 1, false).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(stream.outcomes().await, 1);
    // With the right back it is known, and only acknowledged.
    assert_eq!(stream.group.settle(&batch, 1, false).await.expect("settled").settled, [Settled::Duplicate]);
    assert_eq!((stream.outcomes().await, stream.pending().await.len()), (1, 0));
}

#[tokio::test]
async fn what_was_put_back_holds_the_mirror_back_although_the_rest_of_its_batch_is_refused() {
    let stream = Stream::new().await;
    // Older than the ledger, and of the same hour.
    let (old, next) = (stream.append("1000-0").await, stream.append("2000-0").await);
    stream.read().await;
    stream.redis(&["XACK", JOBS, GROUP, "1000-0"]).await;
    stream.redis(&["SET", RESULTS, "x"]).await;
    let batch = [answered(old), answered(next)];
    let reply = stream.group.settle(&batch, 2, false).await.expect("an answer for each");
    assert_eq!(reply.settled[0], Settled::Expired);
    assert!(matches!(&reply.settled[1], Settled::Refused(why) if why.contains("WRONGTYPE")), "{reply:?}");
    assert_eq!(stream.redis(&["GET", MIRROR]).await.as_string().as_deref(), Some("0-0"));
    assert_eq!(stream.pending().await.len(), 2);
}

#[tokio::test]
async fn a_key_of_another_type_is_named_and_nothing_is_written() {
    let stream = Stream::new().await;
    let id = stream.append("*").await;
    stream.read().await;
    stream.redis(&["SET", RESULTS, "x"]).await;
    let refused = stream.group.settle(&[answered(id)], 1, false).await.expect_err("refused");
    assert!(refused.kind == Kind::WrongType && refused.text.contains(RESULTS), "{refused:?}");
    stream.redis(&["DEL", RESULTS]).await;
    // Neither dead letters nor attempts nor the ledger's index are needed for a plain outcome.
    for key in [":dead", ":attempts", ":ledgers"] {
        stream.redis(&["SET", &format!("{JOBS}{key}"), "x"]).await;
    }
    assert_eq!(stream.group.settle(&[answered(id)], 1, false).await.expect("settled").settled, [Settled::Done]);
    assert_eq!(stream.outcomes().await, 1);
}

#[tokio::test]
async fn the_index_is_told_of_a_bucket_once_and_again_when_redis_may_have_forgotten() {
    let stream = Stream::new().await;
    let ledgers = format!("{JOBS}:ledgers");
    for expected in [1, 0, 1] {
        let id = stream.append("*").await;
        stream.read().await;
        assert_eq!(stream.group.settle(&[answered(id)], 1, false).await.expect("settled").settled, [Settled::Done]);
        assert_eq!(stream.redis(&["ZCARD", &ledgers]).await.as_i64(), Some(expected));
        stream.redis(&["DEL", &ledgers]).await;
        if expected == 0 {
            stream.group.tell_index_again();
        }
    }
}

#[tokio::test]
async fn the_janitor_removes_attempts_that_a_settle_did_not_know_of() {
    let stream = Stream::new().await;
    let id = stream.append("*").await;
    stream.read().await;
    let attempts = format!("{JOBS}:attempts");
    stream.redis(&["HSET", &attempts, &id.to_string(), "1 0 0", "9999999999999-0", "1 0 0"]).await;
    stream.group.settle(&[answered(id)], 1, false).await.expect("settled");
    assert_eq!(stream.redis(&["HLEN", &attempts]).await.as_i64(), Some(2));
    stream.group.tidy(Duration::from_secs(1), CLAIM_IDLE, Duration::from_secs(3_600)).await.expect("tidied");
    let left: Vec<String> = stream.redis(&["HKEYS", &attempts]).await.convert().expect("names");
    assert_eq!(left, ["9999999999999-0"]);
}
