//! A subscription on real servers: counted by the server, made again after each loss with a higher generation, and not
//! asked for again and again where the server refuses it.

use std::time::Duration;

use startjobs::embedded::redis_server::RedisServer;
use startjobs::redis::{Config, Connection, Role, Standing, Subscription, SubscriptionState};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::support::servers;
use crate::support::world::{PATIENCE, load};

const CHANNEL: &str = "jobs:alive:me";
const NAME: &str = "startjobs:me";
/// So long that no test lasts as long.
const NEVER: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_millis(300);

/// A server, and a connection to look at it.
struct Watched {
    server: RedisServer,
    operator: Connection,
}

/// A subscription, and everything that its changes have told.
struct Kept {
    subscription: Subscription,
    told: UnboundedReceiver<Standing>,
    recorder: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.recorder.abort();
    }
}

fn settings(url: String) -> Config {
    load(&[("redis-url".to_owned(), url)]).redis
}

/// The first line with this name in a list of clients: its id.
fn id_of(list: &str, name: &str) -> Option<String> {
    let word = |line: &str, key: &str| line.split(' ').find_map(|word| word.strip_prefix(key).map(str::to_owned));
    list.lines().find(|line| word(line, "name=").is_some_and(|one| one == name)).and_then(|line| word(line, "id="))
}

impl Watched {
    async fn new(server: RedisServer) -> Self {
        let settings = settings(server.url());
        let opened = Connection::open(&settings, Role::Commands, "startjobs:operator", |_| {}).await;
        Self { server, operator: opened.expect("a connection") }
    }

    /// Answers the reply as a text.
    async fn redis(&self, words: &[&str]) -> String {
        let reply = self.operator.raw(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        reply.as_string().unwrap_or_default()
    }

    async fn subscribers(&self) -> i64 {
        let Ok(reply) = self.operator.raw(&["PUBSUB", "NUMSUB", CHANNEL]).await else { return -1 };
        let (_, count): (String, i64) = reply.convert().expect("a channel and its count");
        count
    }

    async fn counted(&self, subscribers: i64) {
        self.eventually("the server counts", async || (self.subscribers().await == subscribers).then_some(())).await;
    }

    async fn eventually<T>(&self, what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = found().await {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The id of the client of this name, once it is another than `old`.
    async fn client(&self, name: &str, old: &str) -> String {
        let list = async || id_of(&self.redis(&["CLIENT", "LIST"]).await, name).filter(|id| id != old);
        self.eventually("a client of this name", list).await
    }

    /// A user with every right but these.
    async fn user(&self, rights: &[&str]) {
        self.redis(&[&["ACL", "SETUSER", "narrow", "on", ">x", "~*", "&*", "+@all"], rights].concat()).await;
    }

    fn keep(&self) -> Kept {
        Kept::new(&self.server.url(), NEVER)
    }

    /// As the user with fewer rights.
    fn keep_narrow(&self, refused_interval: Duration) -> Kept {
        Kept::new(&self.server.url().replace("redis://", "redis://narrow:x@"), refused_interval)
    }

    /// How often the server has logged a refusal.
    async fn refusals(&self) -> i64 {
        let log = self.operator.raw(&["ACL", "LOG"]).await.expect("a log");
        let entries: Vec<Vec<startjobs::redis::Value>> = log.convert().expect("entries");
        // Similar entries are one with a count.
        entries.iter().map(|entry| entry[1].as_i64().expect("a count")).sum()
    }
}

impl Kept {
    fn new(url: &str, refused_interval: Duration) -> Self {
        let settings = settings(url.to_owned());
        let subscription = Subscription::keep_with(&settings, NAME, CHANNEL, refused_interval).expect("valid settings");
        assert_eq!(subscription.standing(), Standing { generation: 0, state: SubscriptionState::Down });
        let (mut changes, (teller, told)) = (subscription.changes(), unbounded_channel());
        let recorder = tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                drop(teller.send(changes.borrow_and_update().clone()));
            }
        });
        Self { subscription, told, recorder }
    }

    /// The next change that is told.
    async fn next(&mut self) -> Standing {
        timeout(PATIENCE, self.told.recv()).await.expect("a change is told").expect("the recorder lives")
    }

    /// The next change is a subscription; its generation.
    async fn subscribed(&mut self) -> u64 {
        let next = self.next().await;
        assert_eq!(next.state, SubscriptionState::Subscribed);
        assert_eq!(self.subscription.standing(), next);
        next.generation
    }

    /// The next change is the loss of this generation.
    async fn lost(&mut self, generation: u64) {
        assert_eq!(self.next().await, Standing { generation, state: SubscriptionState::Down });
    }

    /// The next change is a refusal; its generation.
    async fn refused(&mut self) -> u64 {
        let next = self.next().await;
        assert!(matches!(&next.state, SubscriptionState::Refused(words) if words.contains("NOPERM")), "{next:?}");
        next.generation
    }
}

macro_rules! on_every_server {
    ($($name:ident)+) => {
        mod on_7_0 { $(#[tokio::test] async fn $name() {
            super::$name(super::Watched::new(super::RedisServer::start().expect("redis-server starts")).await).await;
        })+ }
        mod on_6_2 { $(#[tokio::test] async fn $name() {
            if let Some(redis) = super::server("6.2") { super::$name(super::Watched::new(redis).await).await; }
        })+ }
        mod on_8_2 { $(#[tokio::test] async fn $name() {
            if let Some(redis) = super::server("8.2") { super::$name(super::Watched::new(redis).await).await; }
        })+ }
    };
}

fn server(version: &str) -> Option<RedisServer> {
    servers::fetched(version).map(|program| RedisServer::start_with(&program, &[]).expect("this redis-server starts"))
}

on_every_server! {
    it_comes_back_after_each_kill_with_a_higher_generation_and_its_name
    it_comes_back_after_kills_at_any_moment
    it_comes_back_after_a_restart_of_the_server
    it_comes_back_after_a_pause_that_outlasts_its_patience
    it_is_not_counted_once_it_is_dropped
    the_command_connection_has_its_name_after_each_reconnection
    a_user_without_the_command_is_asked_once_for_each_interval
    a_user_without_the_channel_is_asked_once_for_each_interval
    a_right_that_is_taken_away_and_given_back
    a_user_without_ping_is_subscribed
    messages_are_told_and_disturb_no_subscription
}

async fn it_comes_back_after_each_kill_with_a_higher_generation_and_its_name(redis: Watched) {
    let mut kept = redis.keep();
    let mut generation = kept.subscribed().await;
    assert_eq!(generation, 1);
    assert_eq!(redis.subscribers().await, 1);
    let mut id = redis.client(NAME, "").await;
    for _ in 0..5 {
        redis.redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        kept.lost(generation).await;
        let next = kept.subscribed().await;
        assert!(next > generation, "{next} after {generation}");
        assert_eq!(redis.subscribers().await, 1);
        id = redis.client(NAME, &id).await;
        generation = next;
    }
    redis.redis(&["CLIENT", "KILL", "ID", &id]).await;
    kept.lost(generation).await;
    assert!(kept.subscribed().await > generation);
    redis.client(NAME, &id).await;
}

/// Also while it connects and while SUBSCRIBE is under way. No two subscriptions have the same generation.
async fn it_comes_back_after_kills_at_any_moment(redis: Watched) {
    let mut kept = redis.keep();
    for _ in 0..100 {
        let kind = if fastrand::bool() { "pubsub" } else { "normal" };
        redis.redis(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]).await;
        sleep(Duration::from_millis(fastrand::u64(0..40))).await;
    }
    redis.counted(1).await;
    let is_subscribed = async || {
        let standing = kept.subscription.standing();
        (standing.state == SubscriptionState::Subscribed).then_some(standing.generation)
    };
    let last = redis.eventually("it knows that it is subscribed", is_subscribed).await;
    let mut subscribed = Vec::new();
    while subscribed.last() != Some(&last) {
        let next = kept.next().await;
        if next.state == SubscriptionState::Subscribed {
            subscribed.push(next.generation);
        }
    }
    assert!(subscribed.is_sorted_by(|one, next| one < next), "{subscribed:?}");
}

/// Whatever is published, as much as it may be, and while the subscription is lost and made again.
async fn messages_are_told_and_disturb_no_subscription(redis: Watched) {
    let mut kept = redis.keep();
    kept.subscribed().await;
    let mut messages = kept.subscription.messages();
    for text in ["handed", "", "pong", "1", &"x".repeat(1_000_000)] {
        redis.redis(&["PUBLISH", CHANNEL, text]).await;
        timeout(PATIENCE, messages.changed()).await.expect("it is told").expect("it is kept");
    }
    for round in 0..100 {
        for _ in 0..50 {
            redis.redis(&["PUBLISH", CHANNEL, "2"]).await;
        }
        if round % 10 == 0 {
            redis.redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        }
    }
    redis.counted(1).await;
    let is_subscribed = async || {
        let standing = kept.subscription.standing();
        (standing.state == SubscriptionState::Subscribed).then_some(standing.generation)
    };
    let generation = redis.eventually("it knows that it is subscribed", is_subscribed).await;
    assert!(generation > 1, "it was lost");
    // Those of before are all told once nothing more comes.
    while timeout(SOON, messages.changed()).await.is_ok() {}
    redis.redis(&["PUBLISH", CHANNEL, "handed"]).await;
    timeout(PATIENCE, messages.changed()).await.expect("it is told").expect("it is kept");
}

async fn it_comes_back_after_a_restart_of_the_server(mut redis: Watched) {
    let mut kept = redis.keep();
    let generation = kept.subscribed().await;
    redis.server.kill();
    kept.lost(generation).await;
    redis.server.start_again().expect("it starts again");
    assert!(kept.subscribed().await > generation);
    redis.counted(1).await;
}

async fn it_comes_back_after_a_pause_that_outlasts_its_patience(redis: Watched) {
    let mut kept = redis.keep();
    let generation = kept.subscribed().await;
    redis.redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    redis.redis(&["CLIENT", "PAUSE", "3000", "ALL"]).await;
    kept.lost(generation).await;
    assert!(kept.subscribed().await > generation);
    // The pause may have held up SUBSCRIBE of connections that are gone.
    redis.counted(1).await;
}

async fn it_is_not_counted_once_it_is_dropped(redis: Watched) {
    let mut kept = redis.keep();
    kept.subscribed().await;
    assert_eq!(redis.subscribers().await, 1);
    drop(kept);
    redis.counted(0).await;
    let list = async || id_of(&redis.redis(&["CLIENT", "LIST"]).await, NAME).is_none().then_some(());
    redis.eventually("its connection is closed", list).await;
}

async fn the_command_connection_has_its_name_after_each_reconnection(redis: Watched) {
    let opened = Connection::open(&settings(redis.server.url()), Role::Commands, NAME, |_| {}).await;
    let _open = opened.expect("a connection");
    let mut id = redis.client(NAME, "").await;
    for _ in 0..3 {
        redis.redis(&["CLIENT", "KILL", "ID", &id]).await;
        id = redis.client(NAME, &id).await;
    }
}

/// Refused once; the connection comes back twice and does not ask again; another asks again after its interval.
async fn is_asked_once(redis: &Watched, rights: &[&str]) {
    redis.user(rights).await;
    let mut kept = redis.keep_narrow(NEVER);
    let generation = kept.refused().await;
    let mut id = redis.client(NAME, "").await;
    for _ in 0..2 {
        redis.redis(&["CLIENT", "KILL", "ID", &id]).await;
        id = redis.client(NAME, &id).await;
    }
    assert_eq!(redis.refusals().await, 1);
    assert_eq!(kept.subscription.standing().generation, generation);
    assert!(matches!(kept.subscription.standing().state, SubscriptionState::Refused(_)));
    assert!(kept.told.try_recv().is_err());
    drop(kept);

    let (began, mut kept) = (Instant::now(), redis.keep_narrow(SOON));
    let generation = kept.refused().await;
    assert!(kept.refused().await > generation);
    assert!(began.elapsed() >= SOON);
    redis.user(&[]).await;
    while kept.next().await.state != SubscriptionState::Subscribed {}
    assert_eq!(redis.subscribers().await, 1);
}

async fn a_user_without_the_command_is_asked_once_for_each_interval(redis: Watched) {
    is_asked_once(&redis, &["-subscribe"]).await;
}

async fn a_user_without_the_channel_is_asked_once_for_each_interval(redis: Watched) {
    is_asked_once(&redis, &["resetchannels", "&jobs:other:*"]).await;
}

async fn a_right_that_is_taken_away_and_given_back(redis: Watched) {
    redis.user(&[]).await;
    let mut kept = redis.keep_narrow(SOON);
    let generation = kept.subscribed().await;
    // The server closes a subscriber whose channel is no longer allowed.
    redis.user(&["resetchannels"]).await;
    kept.lost(generation).await;
    let mut refused = kept.refused().await;
    assert!(refused > generation);
    redis.user(&[]).await;
    loop {
        let next = kept.next().await;
        assert!(next.generation > refused, "{next:?}");
        refused = next.generation;
        if next.state == SubscriptionState::Subscribed {
            break;
        }
    }
    assert_eq!(redis.subscribers().await, 1);
}

async fn a_user_without_ping_is_subscribed(redis: Watched) {
    redis.user(&["-ping"]).await;
    let mut kept = redis.keep_narrow(NEVER);
    let generation = kept.subscribed().await;
    assert_eq!(redis.subscribers().await, 1);
    redis.redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    kept.lost(generation).await;
    assert!(kept.subscribed().await > generation);
}

#[tokio::test]
async fn a_server_that_does_not_have_the_command_refuses() {
    let options = ["--rename-command", "SUBSCRIBE", ""];
    let server = RedisServer::start_with(std::path::Path::new("redis-server"), &options);
    let redis = Watched::new(server.expect("redis-server starts")).await;
    let mut kept = redis.keep();
    let next = kept.next().await;
    assert!(matches!(&next.state, SubscriptionState::Refused(words) if words.contains("unknown command")), "{next:?}");
}

/// Longer than a client may be silent that is asked something.
const QUIET: Duration = Duration::from_secs(7);

#[tokio::test]
async fn it_is_quiet_for_long_and_not_replaced() {
    let redis = Watched::new(RedisServer::start().expect("redis-server starts")).await;
    let mut kept = redis.keep();
    kept.subscribed().await;
    let id = redis.client(NAME, "").await;
    sleep(QUIET).await;
    assert_eq!(redis.client(NAME, "").await, id);
    assert_eq!(redis.subscribers().await, 1);
    assert!(kept.told.try_recv().is_err());
}
