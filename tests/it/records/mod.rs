//! A game's record, call by call, on a real redis-server: what each verb answers, and what it leaves behind.

// what none of our scripts would have written
mod hostile;
// Redis loses writes, or its clock is set
mod histories;
// games that are placed, and placed anew; containers that have to go
mod placed;
// the lease of a replica that is dead, or taken for dead
mod dead_owner;
// the host of an attempt that left nothing there
mod left;
// a host has as many games as it may
mod full;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use startjobs::contract::dead_letter::Reason;
use startjobs::contract::error_code::ErrorCode;
use startjobs::contract::image_ref::ImageRef;
use startjobs::contract::job_result::{Answer, SuccessKind};
use startjobs::embedded::redis_server::RedisServer;
use startjobs::redis::{Connection, Kind, RedisError, Role};
use startjobs::start::Answered;
use startjobs::start::game_id::GameId;
use startjobs::start::record::{
    Abandoned, Action, AttemptResult, Begun, FenceToken, Here, Reap, RecordJob, Records, Seen,
};

use crate::support::world::load;

const REC: &str = "rtm:{game}:rec";
const PLACED: &str = "rtm:placed:here";
const RES: &str = "rtm:{game}:res";
const JOBS: &str = "runtime:start_jobs";
const LEASE: Duration = Duration::from_secs(60);

/// A server, and what its records' keys are asked for.
struct Store {
    connection: Arc<Connection>,
    /// Ends with the store.
    server: RedisServer,
}

impl Store {
    async fn new() -> Self {
        Self::on(RedisServer::start().expect("redis-server starts")).await
    }

    async fn on(server: RedisServer) -> Self {
        let settings = load(&[("redis-url".to_owned(), server.url())]);
        let connection = Connection::open(&settings.redis, Role::Commands, "startjobs:records", |error| {
            panic!("no connection: {error}")
        });
        Self { connection: Arc::new(connection.await.expect("a connection")), server }
    }

    /// Records of this owner.
    fn of(&self, owner: &str) -> Records {
        self.with(owner, JOBS, LEASE)
    }

    fn with(&self, owner: &str, jobs: &str, lease: Duration) -> Records {
        Records::new(Arc::clone(&self.connection), "rtm:", (jobs, "group"), owner, lease)
    }

    async fn redis(&self, words: &[&str]) -> startjobs::redis::Value {
        self.connection.raw(words).await.expect("Redis answers")
    }

    fn port(&self) -> u16 {
        self.server.port()
    }

    async fn text(&self) -> String {
        self.redis(&["GET", REC]).await.as_string().expect("a record")
    }

    async fn record(&self) -> Json {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    /// The answers beside the record, by job.
    async fn results(&self) -> Vec<(String, Json)> {
        let flat: Vec<String> = self.redis(&["HGETALL", RES]).await.convert().expect("a hash");
        let pair = |pair: &[String]| (pair[0].clone(), serde_json::from_str(&pair[1]).expect("JSON"));
        flat.chunks_exact(2).map(pair).collect()
    }

    async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.redis(&["KEYS", "*"]).await.convert().expect("names");
        keys.sort();
        keys
    }
}

/// What a test asks for: jobs of one game.
struct Asked {
    game: GameId,
    image: ImageRef,
    source: String,
}

fn asked(source: &str, image: &str) -> Asked {
    Asked {
        game: GameId::parse("game").expect("an id"),
        image: ImageRef::parse(image).expect("an image"),
        source: source.to_owned(),
    }
}

impl Asked {
    fn job(&self) -> RecordJob<'_> {
        RecordJob { game: &self.game, image: &self.image, source: &self.source, engine: "simulated" }
    }

    async fn begin(&self, records: &Records) -> Result<Begun, RedisError> {
        records.begin(&self.job(), &here(), &Seen::default()).await
    }

    async fn go(&self, records: &Records) -> FenceToken {
        went(self.begin(records).await)
    }

    async fn go_on(&self, records: &Records, host: &Here) -> FenceToken {
        went(records.begin(&self.job(), host, &Seen::default()).await)
    }

    async fn commit(&self, records: &Records, token: &FenceToken, answer: &Answer) -> Result<bool, RedisError> {
        records.commit(&self.job(), token, &AttemptResult::from(answer.clone())).await
    }

    async fn abandon(&self, records: &Records, container: Option<&str>) -> Result<Abandoned, RedisError> {
        records.abandon(&self.job(), "here", &given_up(), container).await
    }
}

fn went(begun: Result<Begun, RedisError>) -> FenceToken {
    match begun {
        Ok(Begun::Go(token)) => token,
        other => panic!("it did not begin: {other:?}"),
    }
}

/// An attempt that another one has taken over from is refused everything.
async fn is_fenced(records: &Records, job: &Asked, old: &FenceToken) {
    assert!(!records.holds_fence(&job.game, &old.fence).await.expect("asked"));
    assert!(!records.renew(&job.game, &old.fence).await.expect("asked"));
    assert!(!records.condemn(&job.game, &old.fence, "c").await.expect("asked"));
    assert!(!job.commit(records, old, &success("c")).await.expect("asked"));
    records.release(&job.game, &old.fence).await.expect("asked");
    assert!(!records.disown(&job.game, "c").await.expect("asked"), "it may be adopted");
}

/// The host of these tests.
fn here() -> Here {
    Here::new("here", [])
}

/// An answer of which the record says nothing more.
fn stored(answer: Answer) -> Begun {
    Begun::Stored(answer.into(), None)
}

/// A success whose container runs here, by the record.
fn runs(answer: Answer) -> Begun {
    Begun::Stored(answer.into(), Some("here".to_owned()))
}

fn dead(container: &str) -> Seen {
    Seen { dead_container: Some(container.to_owned()), ..Seen::default() }
}

fn gone(source: &str) -> Seen {
    Seen { gone_source: Some(source.to_owned()), ..Seen::default() }
}

fn success(container: &str) -> Answer {
    let engine_endpoint = "http://127.0.0.1:1/\"a\\b\u{e9}\u{7f}".to_owned();
    Answer::Success { container_id: container.to_owned(), engine_endpoint, kind: SuccessKind::Started }
}

fn failure() -> Answer {
    Answer::failure(ErrorCode::EngineExited, "exit code 3: \"no\"/\u{0}\n\u{1f600}")
}

fn given_up() -> Answered {
    Answered { answer: failure(), given_up: Some(Reason::Poison) }
}

const FIRST: &str = "galaxy/engine:1";
const OTHER: &str = "galaxy/engine:2";

#[tokio::test]
async fn an_ordinary_start_is_one_key_and_a_line_on_the_list_of_its_host() {
    let store = Store::new().await;
    let (records, job) = (store.of("a"), asked("5-1", FIRST));
    let token = job.go(&records).await;
    assert_eq!((token.fence.as_str(), token.attempt, token.host.as_str()), ("1", 1, "here"));
    assert!(token.is_first());
    let record = store.record().await;
    let until = record["lease_until_ms"].as_u64().expect("a number");
    assert_eq!(until - record["updated_at_ms"].as_u64().expect("a number"), 60_000);
    assert!(record["updated_at_ms"].as_u64() <= Some(token.clock.now_ms()));
    assert_eq!(
        store.text().await,
        format!(
            r#"{{"fence":1,"owner":"a","lease_until_ms":{until},"updated_at_ms":{},"attempt":1,"state":"starting","image_ref":"{}","stream":"{JOBS}","source_ref":"5-1","op_source":"lobby_stream","host":"here","engine":"simulated"}}"#,
            until - 60_000,
            job.image.as_str()
        )
    );
    assert!(records.holds_fence(&job.game, "1").await.expect("asked"));
    assert!(job.commit(&records, &token, &success("c")).await.expect("asked"));
    let record = store.record().await;
    assert_eq!(
        (&record["fence"], &record["lease_until_ms"], &record["attempt"], &record["state"]),
        (&json!(1), &json!(0), &json!(1), &json!("running"))
    );
    let (seconds, micros): (u64, u64) = store.redis(&["TIME"]).await.convert().expect("two numbers");
    let updated = record["updated_at_ms"].as_u64().expect("a number");
    assert!(updated >= until - 60_000 && updated <= seconds * 1_000 + micros / 1_000, "{record}");
    assert_eq!(store.keys().await, [PLACED, REC]);
    // Whoever gets the entry again is told the same, word for word; another job that it runs.
    assert_eq!(job.begin(&store.of("b")).await, Ok(runs(success("c"))));
    let container_id = "c".to_owned();
    assert_eq!(asked("6-1", FIRST).begin(&records).await, Ok(Begun::Running(container_id.clone())));
    let image_ref = job.image.as_str().to_owned();
    assert_eq!(asked("6-1", OTHER).begin(&records).await, Ok(Begun::Conflict { container_id, image_ref }));
    assert_eq!(store.keys().await, [PLACED, REC]);
}

#[tokio::test]
async fn an_entry_id_of_another_stream_is_another_job() {
    let store = Store::new().await;
    let (records, job) = (store.of("a"), asked("5-1", FIRST));
    let token = job.go(&records).await;
    let elsewhere = store.with("a", "other:jobs", LEASE);
    assert!(matches!(job.begin(&elsewhere).await, Ok(Begun::Busy(_))));
    assert!(job.commit(&records, &token, &failure()).await.expect("asked"));
    let token = job.go(&elsewhere).await;
    assert_eq!(token.fence, "2");
    assert!(job.commit(&elsewhere, &token, &success("c")).await.expect("asked"));
    assert_eq!(job.begin(&records).await, Ok(stored(failure())));
    assert_eq!(job.begin(&elsewhere).await, Ok(runs(success("c"))));
}

#[tokio::test]
async fn a_lease_is_renewed_released_and_runs_out_by_itself() {
    let store = Store::new().await;
    let lease = Duration::from_millis(400);
    let [a, b] = ["a", "b"].map(|owner| store.with(owner, JOBS, lease));
    let job = asked("5-1", FIRST);
    let token = job.go(&a).await;
    let Ok(Begun::Busy(left)) = job.begin(&b).await else { panic!("it is held") };
    assert!(left > Duration::ZERO && left <= lease, "{left:?}");
    // The same process passes its own lease for the same job, and for no other.
    assert!(matches!(asked("6-1", FIRST).begin(&a).await, Ok(Begun::Busy(_))));
    let again = job.go(&a).await;
    assert_eq!((again.fence.as_str(), again.attempt), ("2", 2));
    assert!(!a.renew(&job.game, &token.fence).await.expect("asked"), "the first one is fenced");
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(a.renew(&job.game, &again.fence).await.expect("asked"));
    }
    assert!(matches!(job.begin(&b).await, Ok(Begun::Busy(_))), "it was renewed");
    // Not by another one, nor with another fence.
    b.release(&job.game, &again.fence).await.expect("asked");
    a.release(&job.game, &token.fence).await.expect("asked");
    assert!(matches!(job.begin(&b).await, Ok(Begun::Busy(_))), "nobody else gives it up");
    a.release(&job.game, &again.fence).await.expect("asked");
    assert_eq!(store.record().await["lease_until_ms"], 0);
    // And by the server's clock.
    let taken = job.go(&b).await;
    assert_eq!(taken.fence, "3");
    assert!(!a.holds_fence(&job.game, &again.fence).await.expect("asked"));
    let Ok(Begun::Busy(left)) = job.begin(&a).await else { panic!("it is held") };
    tokio::time::sleep(left + Duration::from_millis(5)).await;
    assert_eq!(job.go(&a).await.fence, "4");
    // What is over cannot be renewed.
    let last = job.go(&a).await;
    assert!(job.commit(&a, &last, &failure()).await.expect("asked"));
    assert!(!a.renew(&job.game, &last.fence).await.expect("asked"));
    assert_eq!(store.record().await["lease_until_ms"], 0);
}

#[tokio::test]
async fn a_fenced_attempt_changes_nothing() {
    let store = Store::new().await;
    let (a, b, job) = (store.of("a"), store.of("b"), asked("5-1", FIRST));
    let old = job.go(&a).await;
    a.release(&job.game, &old.fence).await.expect("asked");
    let new = job.go(&b).await;
    let before = store.text().await;
    is_fenced(&a, &job, &old).await;
    // A token that is the beginning of another, or the other way round.
    for token in ["", "0", "20", "12", "2.0", "x"] {
        assert!(!b.holds_fence(&job.game, token).await.expect("asked"), "{token}");
    }
    assert_eq!(store.text().await, before);
    assert!(job.commit(&b, &new, &success("d")).await.expect("asked"));
    assert!(!a.disown(&job.game, "d").await.expect("asked"), "it is the game's");
    assert!(a.disown(&job.game, "c").await.expect("asked"));
    assert_eq!(store.record().await["condemned"], "c");
    assert!(!a.disown(&job.game, "e").await.expect("asked"), "one at a time");
}

#[tokio::test]
async fn an_older_job_with_another_image_blocks_until_it_is_pending_nowhere() {
    let store = Store::new().await;
    let (records, old, new) = (store.of("a"), asked("5-1", FIRST), asked("6-1", OTHER));
    let token = old.go(&records).await;
    records.release(&old.game, &token.fence).await.expect("asked");
    assert_eq!(new.begin(&records).await, Ok(Begun::Blocked("5-1".to_owned())));
    let taken = went(records.begin(&new.job(), &here(), &gone("5-1")).await);
    assert_eq!(taken.fence, "2");
    assert_eq!(store.record().await["source_ref"], "6-1");
}

#[tokio::test]
async fn answers_move_aside_when_the_record_goes_to_another_job() {
    let store = Store::new().await;
    let records = store.of("a");
    for number in 1..=70_u64 {
        let job = asked(&format!("17955121962{number:02}-0"), FIRST);
        let token = job.go(&records).await;
        assert!(job.commit(&records, &token, &failure()).await.expect("asked"));
    }
    let kept = store.results().await;
    assert_eq!(kept.len(), 64, "so many at most");
    let ttl = store.redis(&["PTTL", RES]).await.as_i64().expect("a number");
    assert!(ttl > 604_700_000 && ttl <= 604_800_000, "{ttl}");
    // The record holds the 70th, the hash those before; the oldest are gone.
    for number in [6_u64, 40, 69, 70] {
        let job = asked(&format!("17955121962{number:02}-0"), FIRST);
        assert_eq!(job.begin(&records).await, Ok(stored(failure())), "{number}");
    }
    let oldest = asked("1795512196205-0", FIRST);
    assert_eq!(oldest.go(&records).await.fence, "71");
    assert_eq!(store.record().await.get("answer"), None);
    let seventieth = asked("1795512196270-0", FIRST);
    assert_eq!(seventieth.begin(&records).await, Ok(stored(failure())));
}

#[tokio::test]
async fn a_job_that_is_given_up_frees_its_game_and_keeps_its_answer() {
    let store = Store::new().await;
    let (a, b, job) = (store.of("a"), store.of("b"), asked("5-1", FIRST));
    let token = job.go(&a).await;
    assert_eq!(job.abandon(&b, Some("c")).await, Ok(Abandoned::Taken));
    let record = store.record().await;
    assert_eq!(
        (&record["fence"], &record["state"], &record["owner"], &record["condemned"], &record["lease_until_ms"]),
        (&json!(2), &json!("failed"), &json!("b"), &json!("c"), &json!(0))
    );
    assert!(!job.commit(&a, &token, &success("c")).await.expect("asked"));
    assert_eq!(job.begin(&a).await, Ok(Begun::Stored(given_up(), None)));
    assert_eq!(job.abandon(&a, None).await, Ok(Abandoned::Stored(given_up())));
    // Another job's game is not touched.
    let next = asked("6-1", FIRST);
    let token = next.go(&a).await;
    let before = store.text().await;
    let third = asked("7-1", OTHER);
    assert_eq!(third.abandon(&b, Some("d")).await, Ok(Abandoned::Kept));
    assert_eq!(store.text().await, before);
    assert_eq!(third.begin(&a).await, Ok(Begun::Stored(given_up(), None)));
    assert_eq!(third.abandon(&b, None).await, Ok(Abandoned::Stored(given_up())));
    assert_eq!(job.begin(&a).await, Ok(Begun::Stored(given_up(), None)), "the first one's has moved aside");
    assert!(next.commit(&a, &token, &success("d")).await.expect("asked"));
    assert_eq!(next.abandon(&b, Some("d")).await, Ok(Abandoned::Stored(success("d").into())));
}

#[tokio::test]
async fn a_job_that_is_given_up_before_any_attempt_leaves_a_record_that_claims_nothing() {
    let store = Store::new().await;
    let (records, job) = (store.of("a"), asked("5-1", FIRST));
    assert_eq!(job.abandon(&records, Some("c")).await, Ok(Abandoned::Kept));
    let record = store.record().await;
    assert_eq!((&record["fence"], &record["attempt"], &record["state"]), (&json!(0), &json!(0), &json!("failed")));
    assert_eq!(store.keys().await, [REC]);
    assert_eq!(job.begin(&records).await, Ok(Begun::Stored(given_up(), None)));
    // A container that is there all the same is of an attempt that Redis has lost.
    for label in ["1", "", "x", "0"] {
        let reaped = records.reap(&job.game, "c", (label, "a"), &here(), Action::Condemn).await;
        assert_eq!(reaped, Ok(Reap::No), "{label}");
    }
    let next = asked("6-1", OTHER);
    let token = next.go(&records).await;
    assert!(token.is_first() && token.attempt == 1, "{token:?}");
    assert_eq!(job.begin(&records).await, Ok(Begun::Stored(given_up(), None)));
}

#[tokio::test]
async fn calls_of_one_run_see_what_those_before_them_did() {
    let store = Store::new().await;
    let (a, b, job) = (store.of("a"), store.of("b"), asked("5-1", FIRST));
    // One run, in the order of the calls; the second one finds the first one's lease.
    let (older, newer) = (asked("5-1", FIRST), asked("6-1", FIRST));
    let (first, second, third) = tokio::join!(older.begin(&a), newer.begin(&a), older.begin(&a));
    let (first, third) = (went(first), went(third));
    assert!(matches!(second, Ok(Begun::Busy(_))), "{second:?}");
    assert_eq!((first.fence.as_str(), third.fence.as_str()), ("1", "2"));
    let (old, new) = (failure(), success("c"));
    let (fenced, done, known, late) = tokio::join!(
        job.commit(&a, &first, &old),
        job.commit(&a, &third, &new),
        job.begin(&a),
        a.renew(&job.game, &third.fence)
    );
    assert_eq!((fenced, done, late), (Ok(false), Ok(true), Ok(false)));
    assert_eq!(known, Ok(runs(success("c"))));
    // A game that goes from job to job within one run keeps every answer.
    let next = newer.job();
    let (seen, host) = (dead("c"), here());
    let (taken, asked_again) = tokio::join!(b.begin(&next, &host, &seen), job.begin(&b));
    assert_eq!(went(taken).fence, "3");
    assert_eq!(asked_again, Ok(stored(success("c"))));
    // An error of one leaves the others as they are.
    store.redis(&["DEL", RES, REC]).await;
    store.redis(&["SET", "rtm:{spoiled}:rec", "x"]).await;
    let spoiled = Asked { game: GameId::parse("spoiled").expect("an id"), ..asked("8-1", FIRST) };
    let (fine, error) = tokio::join!(newer.begin(&a), spoiled.begin(&a));
    assert_eq!(went(fine).fence, "1");
    assert_eq!(error.expect_err("it is none").kind, Kind::WrongType);
}
