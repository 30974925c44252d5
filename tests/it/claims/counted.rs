//! What a death counts against the entries it left: only as much as it proves.

use super::{HOUR_MS, Presence, Stream, ids, on_every_server, seen};

on_every_server! {
    deaths_in_company_make_a_suspect_and_no_more
    the_death_of_half_the_fleet_at_one_moment_counts_nothing_ten_times
    a_job_that_travels_from_death_to_death_is_counted_every_time
    whoever_came_or_left_later_does_not_change_the_evidence
}

/// The owner of this entry dies, and nobody with it.
async fn dies(stream: &Stream, owner: &str, id: &str) {
    stream.lies(owner, id, 61_000).await;
    stream.redis(&["DEL", super::REPLICAS]).await;
    for (name, at) in [("me", 0), ("third", 0), (owner, 61_000)] {
        stream.present(name, seen(at)).await;
    }
}

async fn deaths_in_company_make_a_suspect_and_no_more(stream: Stream) {
    let id = stream.held("a", 0).await;
    dies(&stream, "a", &id).await;
    assert_eq!(stream.take().await.crashed, 1);
    assert_eq!(stream.written(&id).await, (1, None, 0));
    // The second death makes it a suspect: it is counted by the claim that takes it, and that one is for a replica alone.
    dies(&stream, "b", &id).await;
    assert!(ids(&stream.take().await).is_empty());
    assert_eq!(stream.written(&id).await.0, 1);
    let sweep = stream.take_alone("me").await;
    assert_eq!((sweep.claimed[0].crashes, sweep.crashed), (2, 1));
    assert_eq!(stream.written(&id).await, (2, Some("me".to_owned()), 0));
    // An owner that did not run it alone proves nothing more, however often.
    for owner in ["c", "d"] {
        dies(&stream, owner, &id).await;
        let sweep = stream.take_alone("me").await;
        assert_eq!((sweep.claimed[0].crashes, sweep.crashed), (2, 0));
    }
    // The death of one that did counts, each time.
    for crashes in 3..=6 {
        let owner = format!("alone-{crashes}");
        stream.present(&owner, seen(0)).await;
        stream.lies("me", &id, HOUR_MS).await;
        assert_eq!(ids(&stream.take_alone(&owner).await), std::slice::from_ref(&id));
        dies(&stream, &owner, &id).await;
        let sweep = stream.take_alone("me").await;
        assert_eq!((sweep.claimed[0].crashes, sweep.crashed), (crashes, 1));
    }
    // A failure of the start service ends the time in which it runs alone.
    stream.as_consumer("me").record_failure(id.parse().expect("an id"), super::INTERVAL).await.expect("counted");
    assert_eq!(stream.written(&id).await, (6, None, 0));
}

async fn the_death_of_half_the_fleet_at_one_moment_counts_nothing_ten_times(stream: Stream) {
    let (one, other) = (stream.held("a", 0).await, stream.held("b", 0).await);
    for round in 1..=10 {
        // Two of four, heard of for the last time within half a claim idle of each other.
        stream.lies("a", &one, 90_000).await;
        stream.lies("b", &other, 90_000).await;
        stream.present("a", seen(85_000)).await;
        stream.present("b", seen(61_000)).await;
        stream.present("third", seen(0)).await;
        let sweep = stream.take().await;
        assert_eq!((sweep.claimed.len(), sweep.crashed), (2, 0), "{sweep:?}");
        assert_eq!(stream.written(&one).await, (0, None, round));
    }
    stream.lies("a", &one, 90_000).await;
    let sweep = stream.take().await;
    assert_eq!((ids(&sweep), sweep.crashed), (vec![one.clone()], 1));
    // Dead-lettered, nothing of it stays.
    stream.lies("b", &other, HOUR_MS).await;
    stream.redis(&["XDEL", super::JOBS, &other]).await;
    assert_eq!(stream.take().await.lost, 1);
    assert_eq!(stream.written(&other).await, (0, None, 0));
}

async fn a_job_that_travels_from_death_to_death_is_counted_every_time(stream: Stream) {
    let id = stream.held("a", 0).await;
    // Whoever claims from a dead owner renews for at least two thirds of claim idle after that one's last renewal.
    stream.lies("b", &id, 61_000).await;
    stream.present("a", seen(101_500)).await;
    stream.present("b", seen(61_000)).await;
    assert_eq!(stream.take().await.crashed, 1);
}

async fn whoever_came_or_left_later_does_not_change_the_evidence(stream: Stream) {
    let id = stream.held("a", 61_000).await;
    stream.present("a", seen(61_000)).await;
    stream.present("b", seen(65_000)).await;
    // Three of the four that were there live on: one died since, one left.
    stream.present("c", seen(10_000)).await;
    stream.present("d", Presence { state: "left", ..seen(10_000) }).await;
    stream.present("e", seen(0)).await;
    let sweep = stream.take().await;
    assert_eq!((ids(&sweep), sweep.crashed), (vec![id.clone()], 1), "two of six");
    // The replacements of those that died were not there.
    let id = stream.held("f", 61_000).await;
    for (name, at) in [("f", 61_000), ("g", 60_500)] {
        stream.present(name, seen(at)).await;
    }
    for name in ["a", "b", "c", "d", "e"] {
        stream.redis(&["HDEL", super::REPLICAS, name]).await;
    }
    for name in ["h", "i", "j", "k"] {
        stream.present(name, Presence { born: 60_000, ..seen(0) }).await;
    }
    let sweep = stream.take().await;
    assert_eq!((ids(&sweep), sweep.crashed), (vec![id], 0), "two of three");
}
