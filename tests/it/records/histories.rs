//! What a record is worth when Redis has lost writes, so that one fencing token has two owners, and when its clock is set.

use std::time::Duration;

use startjobs::embedded::redis_server::RedisServer;
use startjobs::start::record::{Action, Begun, FenceToken, Reap, Records};

use super::{FIRST, JOBS, LEASE, REC, Store, asked, failure, here, is_fenced, runs, success};
use crate::support::clock::Clock;
use crate::support::servers;

/// Redis has lost what this attempt of `a` began, and `b` has been given the same token.
async fn two_owners_of_one_token(
    store: &Store,
    earlier: Option<&str>,
    mut begin: impl AsyncFnMut(&Records) -> FenceToken,
) {
    let (a, b, job) = (store.of("a"), store.of("b"), asked("5-1", FIRST));
    let old = begin(&a).await;
    match earlier {
        Some(text) => store.redis(&["SET", REC, text]).await,
        None => store.redis(&["DEL", REC]).await,
    };
    let new = begin(&b).await;
    assert_eq!(old.fence, new.fence);
    let before = store.text().await;
    is_fenced(&a, &job, &old).await;
    assert_eq!(store.text().await, before);

    assert!(b.holds_fence(&job.game, &new.fence).await.expect("asked"));
    assert!(job.commit(&b, &new, &success("d")).await.expect("asked"));
    let before = store.text().await;
    assert!(!job.commit(&a, &old, &failure()).await.expect("asked"));
    // Which of the two histories is the later one the token does not say.
    let reap = async |owner| {
        a.reap(&job.game, "c", (old.fence.as_str(), owner), &here(), Action::Condemn).await.expect("asked") != Reap::No
    };
    assert!(!reap("a").await);
    assert_eq!(store.text().await, before);
    assert!(reap("b").await, "it is of the record's own history");
    assert_eq!(store.record().await["container_id"], "d");
}

async fn one_token_is_not_enough(server: RedisServer) {
    let store = Store::on(server).await;
    two_owners_of_one_token(&store, None, async |records| asked("5-1", FIRST).go(records).await).await;
    store.redis(&["DEL", REC]).await;
    let first = asked("4-1", FIRST);
    let token = first.go(&store.of("c")).await;
    assert!(first.commit(&store.of("c"), &token, &failure()).await.expect("asked"));
    let earlier = store.text().await;
    two_owners_of_one_token(&store, Some(&earlier), async |records| asked("5-1", FIRST).go(records).await).await;
}

#[tokio::test]
async fn who_was_given_a_token_that_redis_has_given_twice_changes_nothing() {
    for server in servers::all() {
        one_token_is_not_enough(server).await;
    }
}

/// The record as the version before wrote it: numbers first, `owner` among the texts.
async fn in_the_order_of_before(store: &Store) {
    let text = store.text().await;
    let (from, to) = (text.find("\"owner\":").expect("an owner"), text.find("\"lease_until_ms\":").expect("a lease"));
    let owner = &text[from..to];
    let before = text.replacen(owner, "", 1).replacen("\"host\":", &format!("{owner}\"host\":"), 1);
    assert!(before.starts_with("{\"fence\":1,\"lease_until_ms\":"), "{before}");
    store.redis(&["SET", REC, &before]).await;
}

#[tokio::test]
async fn a_record_of_the_version_before_is_held_by_its_owner_alone() {
    let store = Store::new().await;
    // One that every JSON has in another form.
    for owner in ["a", "a/b \"\u{e9}\u{1}\\"] {
        let ([a, b], job) = ([owner, "b"].map(|owner| store.of(owner)), asked("5-1", FIRST));
        let token = job.go(&a).await;
        in_the_order_of_before(&store).await;
        assert!(a.holds_fence(&job.game, "1").await.expect("asked"));
        assert!(!b.holds_fence(&job.game, "1").await.expect("asked"));
        assert!(!b.renew(&job.game, "1").await.expect("asked"));
        assert!(!job.commit(&b, &token, &failure()).await.expect("asked"));
        assert!(matches!(job.begin(&b).await, Ok(Begun::Busy(_))));
        assert!(a.renew(&job.game, "1").await.expect("asked"));
        assert!(a.holds_fence(&job.game, "1").await.expect("asked"), "as the script wrote it");
        in_the_order_of_before(&store).await;
        assert!(job.commit(&a, &token, &success("c")).await.expect("asked"));
        in_the_order_of_before(&store).await;
        assert_eq!(job.begin(&b).await, Ok(runs(success("c"))));
        store.redis(&["DEL", REC]).await;
    }
}

/// The lease of a replica that is dead, when the server's clock goes back.
async fn leases_end_when_the_clock_goes_back(clock: &Clock, store: &Store, seconds: i64) {
    let job = asked("5-1", FIRST);
    let token = job.go(&store.of("a")).await;
    assert!(matches!(job.begin(&store.of("b")).await, Ok(Begun::Busy(left)) if left <= LEASE));
    clock.step(-seconds);
    let taken = job.go(&store.of("b")).await;
    assert_ne!(taken.fence, token.fence);
    // What was taken by the new time holds, for one that takes shorter leases too.
    let hasty = store.with("c", JOBS, LEASE / 100);
    assert!(matches!(job.begin(&hasty).await, Ok(Begun::Busy(left)) if left <= LEASE));
    assert!(store.of("b").renew(&job.game, &taken.fence).await.expect("asked"));
    assert!(matches!(job.begin(&hasty).await, Ok(Begun::Busy(left)) if left <= LEASE));
    // Neither does a renewed one outlive the step.
    clock.step(-seconds);
    job.go(&hasty).await;
    store.redis(&["DEL", REC]).await;
}

#[tokio::test]
async fn a_lease_does_not_outlive_its_length_when_the_servers_clock_goes_back() {
    for program in servers::programs() {
        let clock = Clock::new();
        let store = Store::on(clock.redis(&program)).await;
        for seconds in [120, 600] {
            leases_end_when_the_clock_goes_back(&clock, &store, seconds).await;
        }
    }
}

#[tokio::test]
async fn a_step_forward_ends_a_lease_and_the_attempt_goes_on_where_nobody_else_asks() {
    let clock = Clock::new();
    let store = Store::on(clock.redis("redis-server".as_ref())).await;
    let (a, job) = (store.of("a"), asked("5-1", FIRST));
    let token = job.go(&a).await;
    clock.step(360);
    assert!(a.renew(&job.game, &token.fence).await.expect("asked"));
    assert!(matches!(job.begin(&store.of("b")).await, Ok(Begun::Busy(left)) if left <= LEASE));
    assert!(job.commit(&a, &token, &success("c")).await.expect("asked"));
}

#[tokio::test]
async fn the_reconcilers_tick_is_taken_once_in_an_interval_whatever_the_servers_clock_does() {
    let clock = Clock::new();
    let store = Store::on(clock.redis("redis-server".as_ref())).await;
    let (records, minute) = (store.of("a"), Duration::from_secs(60));
    let take = async |host| records.take_tick(host, minute).await.expect("asked");
    assert!(take("here").await && take("there").await);
    assert!(!take("here").await);
    clock.step(-600);
    assert!(take("here").await);
    assert!(!take("here").await);
    clock.step(61);
    assert!(take("here").await);
    // What the version before has left.
    store.redis(&["SET", "rtm:reconciled:here", "its-consumer", "PX", "60000"]).await;
    assert!(!take("here").await);
    assert!(store.redis(&["PTTL", "rtm:reconciled:there"]).await.as_i64().is_some_and(|ms| ms > 0));
}
