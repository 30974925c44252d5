//! A job that was taken from a dead replica does not wait for the lease that this one left behind, on every server.

use startjobs::embedded::redis_server::RedisServer;
use startjobs::start::record::{AttemptResult, Begun, FenceToken, Here, Records, Seen};

use super::{Asked, FIRST, OTHER, REC, Store, asked, failure, here, is_fenced, runs, stored, success, went};
use crate::support::servers;

/// This job begins, told that `dead` is dead.
async fn begin_told(job: &Asked, records: &Records, dead: &str) -> Begun {
    let seen = Seen { dead_owner: Some(dead.into()), ..Seen::default() };
    records.begin(&job.job(), &here(), &seen).await.expect("asked")
}

async fn go_told(job: &Asked, records: &Records, dead: &str) -> FenceToken {
    went(Ok(begin_told(job, records, dead).await))
}

/// The lease of `owner` holds until a job is told that this owner is dead. Then its attempt cannot change anything any more.
async fn only_the_dead_ones_lease_is_broken(server: RedisServer, owner: &str) {
    let store = Store::on(server).await;
    let ([a, b], job) = ([owner, "b"].map(|owner| store.of(owner)), asked("5-1", FIRST));
    let old = job.go(&a).await;
    let before = store.text().await;
    assert!(matches!(job.begin(&b).await, Ok(Begun::Busy(_))), "told nothing");
    for other in ["", "b", "c", "A", &format!("{owner}x"), &owner[..owner.len() - 1]] {
        assert!(matches!(begin_told(&job, &b, other).await, Begun::Busy(_)), "told of {other:?}");
    }
    assert_eq!(store.text().await, before);

    let new = go_told(&job, &b, owner).await;
    assert_eq!((new.fence.as_str(), new.attempt, new.is_first()), ("2", 2, false));
    let before = store.text().await;
    is_fenced(&a, &job, &old).await;
    // The lease of `b` holds: for the old owner, should it live after all, and for others that were told of its death.
    assert!(matches!(job.begin(&a).await, Ok(Begun::Busy(_))));
    assert!(matches!(begin_told(&job, &store.of("c"), owner).await, Begun::Busy(_)));
    assert_eq!(store.text().await, before);
    assert!(job.commit(&b, &new, &success("d")).await.expect("asked"));
    assert_eq!(job.begin(&a).await, Ok(runs(success("d"))));
}

#[tokio::test]
async fn only_the_lease_of_the_owner_that_is_dead_is_broken_and_the_fence_stops_it() {
    for server in servers::all() {
        only_the_dead_ones_lease_is_broken(server, "a-1").await;
    }
    // A name that JSON has to escape.
    let server = RedisServer::start().expect("redis-server starts");
    only_the_dead_ones_lease_is_broken(server, "a/b \"\u{e9}\u{1}\\").await;
}

/// The rest of what the dead owner left behind counts as it does after its lease has run out.
async fn only_the_lease_is_passed_over(server: RedisServer) {
    let store = Store::on(server).await;
    let (a, b) = (store.of("a"), store.of("b"));
    let (old, same, other) = (asked("5-1", FIRST), asked("6-1", FIRST), asked("6-1", OTHER));
    let token = old.go(&a).await;
    assert!(a.condemn(&old.game, &token.fence, "c").await.expect("asked"));
    // Another image is not started while the older job may have begun on the engine.
    assert_eq!(begin_told(&other, &b, "a").await, Begun::Blocked("5-1".to_owned()));
    let seen = Seen { dead_owner: Some("a".into()), ..Seen::default() };
    let placed = Ok(Begun::Elsewhere("here".to_owned()));
    assert_eq!(b.begin(&old.job(), &Here::new("elsewhere", []), &seen).await, placed);
    let taken = went(b.begin(&old.job(), &here(), &seen).await);
    assert_eq!((taken.host.as_str(), taken.condemned.as_deref()), ("here", Some("c")));
    let ended = AttemptResult { answer: failure(), still_condemned: Some("c".to_owned()), is_recorded: false };
    assert!(b.commit(&old.job(), &taken, &ended).await.expect("asked"));
    // A stored answer is returned as before.
    assert_eq!(begin_told(&old, &b, "b").await, stored(failure()));
    store.redis(&["DEL", REC]).await;
    // Another job of the game that was taken from the same owner goes on too. Of two calls in one run only the one that was
    // told does.
    let token = old.go(&a).await;
    let (untold, told) = tokio::join!(same.begin(&b), begin_told(&same, &b, "a"));
    assert!(matches!(untold, Ok(Begun::Busy(_))), "{untold:?}");
    assert_eq!(went(Ok(told)).fence, "2");
    assert!(!old.commit(&a, &token, &success("c")).await.expect("asked"));
    assert!(matches!(begin_told(&old, &b, "a").await, Begun::Busy(_)), "the lease of a living owner is waited for");
}

#[tokio::test]
async fn host_condemned_container_and_older_image_of_a_dead_owner_count_as_before() {
    for server in servers::all() {
        only_the_lease_is_passed_over(server).await;
    }
}
