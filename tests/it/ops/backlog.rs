//! The count of waiting entries against the stream itself.

use std::sync::Arc;
use std::time::Duration;

use startjobs::ops::View;
use startjobs::ops::backlog::{COUNTED_MAX, Waiting};
use startjobs::ops::connect::connect;

use super::{json, line, text};
use crate::support::world::World;

struct Stream {
    world: World,
    view: View,
    jobs: String,
    group: String,
}

impl Stream {
    /// Entries 1-0 to `entries`-0, and a group that begins after `start`.
    async fn new(entries: u64, start: &str) -> Self {
        let world = World::new().await;
        let limit = Duration::from_secs(5);
        let connection = connect(&world.settings.redis, "test", limit, || {}).await.expect("a connection");
        let view = View::new(Arc::new(connection), &world.settings);
        let (jobs, group) = (world.settings.stream.jobs.clone(), world.settings.stream.group.clone());
        let stream = Self { world, view, jobs, group };
        let fill = "for i = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], i .. '-0', 'game_id', 'g', 'image_ref', 'i') end";
        stream.redis(&["EVAL", fill, "1", &stream.jobs, &entries.to_string()]).await;
        stream.redis(&["XGROUP", "CREATE", &stream.jobs, &stream.group, start, "MKSTREAM"]).await;
        stream
    }

    async fn redis(&self, words: &[&str]) -> startjobs::redis::Value {
        self.world.redis(words).await
    }

    async fn read(&self, count: u64) {
        let count = count.to_string();
        self.redis(&["XREADGROUP", "GROUP", &self.group, "c", "COUNT", &count, "STREAMS", &self.jobs, ">"]).await;
    }

    async fn lag(&self) -> Option<u64> {
        self.view.look().await.expect("a look").group.expect("the group").lag
    }

    async fn waiting(&self) -> Waiting {
        self.waiting_within(COUNTED_MAX).await
    }

    async fn waiting_within(&self, counted_max: u64) -> Waiting {
        let look = self.view.look().await.expect("a look");
        self.view.waiting(&look, counted_max).await.expect("a count")
    }

    /// Everything after the last-delivered entry, one by one.
    async fn truth(&self) -> u64 {
        let after = self.view.look().await.expect("a look").after.expect("a place to begin");
        let reply = self.redis(&["XRANGE", &self.jobs, &format!("({after}"), "+"]).await;
        let entries: Vec<(String, Vec<String>)> = reply.convert().expect("entries");
        entries.len() as u64
    }
}

const fn exactly(count: u64) -> Waiting {
    Waiting { count, exact: true }
}

#[tokio::test]
async fn an_undelivered_entry_was_deleted_and_the_lag_is_null() {
    let stream = Stream::new(10, "0").await;
    stream.read(4).await;
    assert_eq!(stream.waiting().await, exactly(6));
    // Before 7.0 there is none at all.
    assert!([Some(6), None].contains(&stream.lag().await));
    stream.redis(&["XDEL", &stream.jobs, "7-0"]).await;
    assert_eq!((stream.lag().await, stream.waiting().await), (None, exactly(5)));
    let status = text(&stream.world, &["status"]);
    assert!(
        status.starts_with("Down: no replica reads; ") && status.contains(" 5 jobs wait, the oldest for "),
        "{status}"
    );
    assert_eq!(line(&status, "lag"), "unknown to Redis");
    let status = json(&stream.world, &["status"]);
    assert_eq!((&status["lag"]["known"], &status["waiting"]["count"]), (&false.into(), &5.into()), "{status}");
}

#[tokio::test]
async fn undelivered_entries_were_trimmed_and_the_lag_is_wrong() {
    let stream = Stream::new(10, "0").await;
    stream.read(4).await;
    stream.redis(&["XTRIM", &stream.jobs, "MINID", "8"]).await;
    assert_eq!(stream.waiting().await, exactly(3));
    let status = text(&stream.world, &["status"]);
    match stream.lag().await {
        Some(3) => assert_eq!(line(&status, "lag"), "3 as Redis counts"),
        Some(_) => assert!(line(&status, "lag").ends_with("as Redis counts, which is wrong"), "{status}"),
        None => assert_eq!(line(&status, "lag"), "unknown to Redis"),
    }
    // The group's own counter stays wrong once it has passed the hole.
    stream.read(1).await;
    assert_eq!(stream.waiting().await, exactly(2));
}

#[tokio::test]
async fn the_first_undelivered_entries_were_deleted_and_passed() {
    let stream = Stream::new(10, "0").await;
    stream.read(4).await;
    stream.redis(&["XDEL", &stream.jobs, "5-0", "6-0"]).await;
    stream.read(1).await;
    assert_eq!(stream.waiting().await, exactly(3));
}

#[tokio::test]
async fn the_group_began_in_the_middle_and_the_lag_is_null() {
    let stream = Stream::new(10, "6-0").await;
    assert_eq!((stream.lag().await, stream.waiting().await), (None, exactly(4)));
    stream.read(1).await;
    assert_eq!(stream.waiting().await, exactly(3));
    stream.read(3).await;
    assert_eq!(stream.waiting().await, exactly(0));
    let at_end = Stream::new(3, "$").await;
    assert_eq!(at_end.waiting().await, exactly(0));
    at_end.redis(&["XADD", &at_end.jobs, "9-0", "f", "v"]).await;
    assert_eq!(at_end.waiting().await, exactly(1));
}

#[tokio::test]
async fn beyond_the_bound_it_is_a_lower_bound_and_says_so() {
    let stream = Stream::new(6_000, "3000-0").await;
    assert_eq!(stream.waiting().await, exactly(3_000));
    let bounded = stream.waiting_within(1_000).await;
    assert!(!bounded.exact && (1_000..3_000).contains(&bounded.count), "{bounded:?}");
    assert_eq!(bounded.text(), format!(">= {}", bounded.count));
    // One short side is enough, however long the other is.
    let short = Stream::new(6_000, "5900-0").await;
    assert_eq!(short.waiting_within(1_000).await, exactly(100));
    let short = Stream::new(6_000, "100-0").await;
    assert_eq!(short.waiting_within(1_000).await, exactly(5_900));
    short.redis(&["XTRIM", &short.jobs, "MINID", "51"]).await;
    assert_eq!(short.waiting_within(1_000).await, exactly(5_900));
}

#[tokio::test]
async fn whatever_happens_to_a_stream_the_count_is_right() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let stream = Stream::new(0, "0").await;
    let (jobs, group) = (stream.jobs.as_str(), stream.group.as_str());
    let mut last = 0;
    for step in 0..400 {
        let id = format!("{}-0", random.u64(1..=last + 1));
        match random.u8(0..20) {
            0..8 => {
                for _ in 0..random.u64(1..20) {
                    last += random.u64(1..4);
                    stream.redis(&["XADD", jobs, &format!("{last}-0"), "f", "v"]).await;
                }
            }
            8..14 => stream.read(random.u64(1..15)).await,
            14..17 => drop(stream.redis(&["XDEL", jobs, &id]).await),
            17 => drop(stream.redis(&["XTRIM", jobs, "MINID", &random.u64(0..=last / 4).to_string()]).await),
            18 => drop(stream.redis(&["XTRIM", jobs, "MINID", &id]).await),
            _ => drop(stream.redis(&["XGROUP", "SETID", jobs, group, &id]).await),
        }
        assert_eq!(stream.waiting().await, exactly(stream.truth().await), "seed {seed}, step {step}");
    }
}
