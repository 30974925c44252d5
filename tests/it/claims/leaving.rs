//! Replicas that leave: what they still hold is anyone's at once, and no consumer stays behind.

use super::{GROUP, JOBS, REPLICAS, Stream, about, ids, on_every_server};
use crate::support::sweeps::by_silence;

on_every_server! {
    what_a_leaving_replica_still_holds_is_given_back_and_counts_nothing
    the_claim_of_its_last_entry_removes_a_consumer_that_left
    a_consumer_that_a_late_read_made_again_is_emptied_and_removed
}

async fn what_a_leaving_replica_still_holds_is_given_back_and_counts_nothing(stream: Stream) {
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(stream.held("goes", 0).await);
    }
    stream.renew_as("goes").await;
    assert_eq!(stream.as_consumer("goes").leave(&about()).await.expect("left").entries, 3);
    let pending: Vec<(String, String, i64, i64)> =
        stream.redis(&["XPENDING", JOBS, GROUP, "-", "+", "10"]).await.convert().expect("pending");
    // Replicas of an older version judge by the idle time.
    assert!(pending.iter().all(|(_, _, idle, _)| *idle >= super::HOUR_MS), "{pending:?}");
    assert_eq!(stream.consumers().await.len(), 1, "its consumer holds them");
    let sweep = stream.take().await;
    assert_eq!((ids(&sweep), sweep.crashed), (held, 0));
    assert_eq!(stream.consumers().await, ["me"]);
    assert!(stream.redis(&["HGET", REPLICAS, "goes"]).await.as_string().is_some_and(|text| text.contains(" left ")));
    // One that holds nothing is gone at once.
    stream.held("other", 0).await;
    stream.redis(&["XGROUP", "CREATECONSUMER", JOBS, GROUP, "idle"]).await;
    assert_eq!(stream.as_consumer("idle").leave(&about()).await.expect("left").entries, 0);
    assert!(!stream.consumers().await.contains(&"idle".to_owned()));
}

async fn the_claim_of_its_last_entry_removes_a_consumer_that_left(stream: Stream) {
    let (first, second) = (stream.held("goes", 0).await, stream.held("goes", 0).await);
    assert_eq!(stream.as_consumer("goes").leave(&about()).await.expect("left").entries, 2);
    let take_one = async || {
        stream.due().await;
        let group = stream.as_consumer("me");
        group
            .sweep(startjobs::stream::claim::Aim::Take, by_silence(super::CLAIM_IDLE, super::INTERVAL, 1, true))
            .await
            .expect("swept")
            .swept
    };
    let startjobs::stream::claim::Swept::Done(sweep) = take_one().await else { panic!("not swept") };
    assert_eq!(ids(&sweep), [first]);
    assert!(stream.consumers().await.contains(&"goes".to_owned()), "it still holds one");
    // Its payload goes: the last entry is lost, and the consumer goes with it.
    stream.redis(&["XDEL", JOBS, &second]).await;
    let startjobs::stream::claim::Swept::Done(sweep) = take_one().await else { panic!("not swept") };
    assert_eq!(sweep.lost, 1);
    assert_eq!(stream.consumers().await, ["me"]);
}

async fn a_consumer_that_a_late_read_made_again_is_emptied_and_removed(stream: Stream) {
    stream.redis(&["XGROUP", "CREATECONSUMER", JOBS, GROUP, "goes"]).await;
    assert_eq!(stream.as_consumer("goes").leave(&about()).await.expect("left").entries, 0);
    let late = stream.held("goes", 0).await;
    let sweep = stream.take().await;
    assert_eq!((ids(&sweep), sweep.crashed), (vec![late], 0));
    assert_eq!(stream.consumers().await, ["me"]);
}
