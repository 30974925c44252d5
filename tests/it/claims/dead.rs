//! Who is dead: an owner that has been silent for its own claim idle, as far as its judge could have heard it.

use super::{GROUP, HOUR_MS, JOBS, Presence, REPLICAS, Stream, ids, on_every_server, seen};
use startjobs::stream::claim::{Aim, Swept};

on_every_server! {
    each_owner_is_judged_by_its_own_silence_and_by_what_the_judge_could_hear
    one_step_of_the_clock_condemns_nobody
    a_judge_that_has_just_come_takes_only_what_was_given_back_or_left
    a_consumer_without_presence_is_judged_by_how_long_its_entries_lie
    the_owner_of_a_deleted_payload_settles_it_while_it_lives
    a_replica_that_has_not_been_heard_of_for_claim_idle_takes_nothing
}

/// What becomes of an entry.
#[derive(Debug, PartialEq)]
enum Fate {
    Stays,
    Taken,
    Counted,
}
use Fate::{Counted, Stays, Taken};

/// The fate of one entry that lay for `idle` with an owner of this presence, where the judge has watched for `since`.
async fn fate(stream: &Stream, owner: Presence, idle: i64, since: i64) -> Fate {
    stream.redis(&["XGROUP", "DESTROY", JOBS, GROUP]).await;
    stream.redis(&["DEL", REPLICAS, JOBS]).await;
    stream.redis(&["XGROUP", "CREATE", JOBS, GROUP, "0", "MKSTREAM"]).await;
    let id = stream.held("owner", idle).await;
    stream.present("owner", owner).await;
    stream.present("me", Presence { since, ..seen(0) }).await;
    // Of a fleet of its own, so that one death is not the death of half.
    stream.present("third", seen(0)).await;
    let sweep = stream.take().await;
    match (ids(&sweep) == [id], sweep.crashed) {
        (false, 0) => Stays,
        (true, 0) => Taken,
        (true, 1) => Counted,
        other => panic!("{other:?}: {sweep:?}"),
    }
}

async fn each_owner_is_judged_by_its_own_silence_and_by_what_the_judge_could_hear(stream: Stream) {
    let long = HOUR_MS;
    let of = |claim_idle, at| Presence { claim_idle, ..seen(at) };
    let left = Presence { state: "left", ..seen(1_000) };
    let cases = [
        ("silent for longer than claim idle", seen(61_000), 61_000, long, Counted),
        ("the same, draining", Presence { state: "draining", ..seen(61_000) }, 61_000, long, Counted),
        ("not silent for long enough", seen(50_000), 61_000, long, Stays),
        ("the judge has not watched for long enough", seen(61_000), 61_000, 50_000, Stays),
        ("by its own, longer claim idle it lives", of(300_000, 100_000), 100_000, long, Stays),
        ("by its own, longer claim idle it is dead", of(300_000, 301_000), 301_000, long, Counted),
        ("a shorter silence than the judge could hear", of(300, 10_000), 10_000, long, Stays),
        ("it renews itself and not the entry", seen(1_000), 70_000, long, Taken),
        ("the entry was read just before its last renewal", seen(1_000), 1_500, long, Stays),
        ("given back", seen(1_000), HOUR_MS, 0, Taken),
        ("given back by one that died since", seen(61_000), HOUR_MS + 61_000, long, Taken),
        ("left", left, 0, 0, Taken),
        // The server's clock went back by ten minutes, and idle times are 0 until it has caught up.
        ("written before the clock went back", seen(-600_000), 0, long, Counted),
        ("the same, and the judge has just noticed", seen(-600_000), 0, 10_000, Stays),
        ("ahead by less than claim idle", seen(-5_000), 0, long, Stays),
    ];
    for (what, owner, idle, since, expected) in cases {
        assert_eq!(fate(&stream, owner, idle, since).await, expected, "{what}");
    }
}

/// Six minutes forward: everything that was written looks six minutes old, the judge's own presence included.
async fn one_step_of_the_clock_condemns_nobody(stream: Stream) {
    let step = 360_000;
    let mut entries = Vec::new();
    for owner in ["a", "b", "c"] {
        entries.push((owner, stream.held(owner, step + 1_000).await));
        stream.present(owner, seen(step + 500)).await;
    }
    stream.present("me", seen(step + 100)).await;
    stream.due().await;
    assert_eq!(stream.sweep_as("me", Aim::Take).await, Swept::NotDue);
    stream.renew_as("me").await;
    assert!(ids(&stream.take().await).is_empty());
    // Back by ten minutes: until the clock has caught up, Redis answers 0 for every idle time.
    stream.present("me", seen(-600_000)).await;
    for (owner, id) in &entries {
        stream.lies(owner, id, 0).await;
        stream.present(owner, seen(-600_000)).await;
    }
    assert!(ids(&stream.take().await).is_empty());
    stream.renew_as("me").await;
    assert!(ids(&stream.take().await).is_empty());
    // Those that live have renewed since; when the judge has watched for long enough, the one that did not is dead.
    for owner in ["a", "b"] {
        stream.renew_as(owner).await;
    }
    stream.present("me", Presence { since: 61_000, ..seen(0) }).await;
    assert_eq!(stream.take().await.from, [("c".to_owned(), 1)]);
}

async fn a_judge_that_has_just_come_takes_only_what_was_given_back_or_left(stream: Stream) {
    stream.redis(&["DEL", REPLICAS]).await;
    stream.held("dead", 70_000).await;
    stream.present("dead", seen(70_000)).await;
    let given_back = stream.held("living", HOUR_MS).await;
    stream.held("living", 70_000).await;
    stream.present("living", seen(70_000)).await;
    let left = stream.held("gone", 0).await;
    stream.present("gone", Presence { state: "left", ..seen(70_000) }).await;
    stream.renew_as("me").await;
    let sweep = stream.take().await;
    // `living` was silent while Redis was away, as long as everyone; what it gave back lies an hour further back.
    assert_eq!((ids(&sweep), sweep.crashed), (vec![given_back, left], 0));

    // A judge that renews in time goes on watching; one that did not begins anew.
    let since = stream.presence_member("me", "since_ms").await;
    stream.renew_as("me").await;
    assert_eq!(stream.presence_member("me", "since_ms").await, since);
    let born = stream.presence_member("me", "born_ms").await;
    stream.present("me", Presence { born: stream.now().await - born, ..seen(70_000) }).await;
    let now = stream.now().await;
    stream.renew_as("me").await;
    assert!(stream.presence_member("me", "since_ms").await >= now);
    // Half a claim idle late is worth a quarter of it: 3 * (30 - 25) s.
    stream.present("me", seen(30_000)).await;
    let now = stream.now().await;
    stream.renew_as("me").await;
    let waits = stream.presence_member("me", "since_ms").await + 60_000 - now;
    assert!((15_000..20_000).contains(&waits), "{waits}");
}

async fn a_consumer_without_presence_is_judged_by_how_long_its_entries_lie(stream: Stream) {
    let (old, fresh) = (stream.held("foreign", 61_000).await, stream.held("foreign", 50_000).await);
    stream.present("me", Presence { since: 50_000, ..seen(0) }).await;
    assert!(ids(&stream.take().await).is_empty());
    stream.present("me", seen(0)).await;
    let sweep = stream.take().await;
    assert_eq!((ids(&sweep), sweep.crashed), (vec![old], 1));
    stream.lies("foreign", &fresh, HOUR_MS).await;
    let sweep = stream.take().await;
    assert_eq!((ids(&sweep), sweep.crashed), (vec![fresh], 0));
}

async fn the_owner_of_a_deleted_payload_settles_it_while_it_lives(stream: Stream) {
    let id = stream.held("owner", 70_000).await;
    stream.present("owner", seen(1_000)).await;
    stream.redis(&["XDEL", JOBS, &id]).await;
    assert_eq!(stream.take().await.lost, 0);
    stream.present("owner", seen(61_000)).await;
    assert_eq!(stream.take().await.lost, 1);
    assert_eq!(stream.redis(&["XLEN", super::DEAD]).await.as_i64(), Some(1));
    assert_eq!(stream.take().await.lost, 0);
}

async fn a_replica_that_has_not_been_heard_of_for_claim_idle_takes_nothing(stream: Stream) {
    let id = stream.held("owner", HOUR_MS).await;
    stream.present("owner", seen(1_000)).await;
    stream.present("me", seen(61_000)).await;
    for aim in [Aim::Look, Aim::Take, Aim::Alone, Aim::Another] {
        stream.due().await;
        assert_eq!(stream.sweep_as("me", aim).await, Swept::NotDue, "{aim:?}");
    }
    stream.redis(&["HDEL", REPLICAS, "me"]).await;
    assert_eq!(stream.sweep_as("me", Aim::Take).await, Swept::NotDue, "without a presence");
    // With its next renewal it may take what was given back.
    stream.renew_as("me").await;
    assert_eq!(ids(&stream.take().await), [id]);
}
