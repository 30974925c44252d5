//! A job that two replicas had in hand is one trace.

use rustix::process::Signal;

use super::{ENDPOINT, PARENT, TRACE, sampled, send};
use crate::support::collector::{Collector, Manner, Recorded};
use crate::support::world::World;

fn is_process(span: &Recorded) -> bool {
    span.name == "process runtime:start_jobs"
}

#[tokio::test]
async fn what_a_dead_replica_had_is_continued_beneath_the_same_sender() {
    let collector = Collector::start(Manner::Takes).await;
    let mut world = World::new().await;
    let endpoint = collector.endpoint();
    let a = world.replica(&[(ENDPOINT, &endpoint), ("crash-at", "after_create")]);
    world
        .eventually("the replica says that it is there", async |world: &World| !world.presences().await.is_empty())
        .await;
    let dead = world.presences().await.into_keys().next().expect("one replica");
    send(&mut world, "game", "galaxy/engine:1", &sampled()).await;
    world.killed(a).await;
    world.replica(&[(ENDPOINT, &endpoint)]);
    world.settled().await;
    let spans = collector.got(1, "the entry", is_process).await;
    let [process] = spans.as_slice() else { panic!("{spans:#?}") };
    assert_eq!((process.trace.as_str(), process.parent.as_str()), (TRACE, PARENT));
    assert_eq!(process.get("startjobs.claimed_from"), dead);
    assert_eq!(process.get("startjobs.deliveries"), "2");
}

#[tokio::test]
async fn a_job_without_a_sender_has_the_same_trace_at_both_replicas() {
    let collector = Collector::start(Manner::Takes).await;
    let mut world = World::new().await;
    let endpoint = collector.endpoint();
    let a = world.replica(&[(ENDPOINT, &endpoint), ("pause-at", "before_settle")]);
    world.send("game", "galaxy/engine:1").await;
    world.paused(a).await;
    let b = world.replica(&[(ENDPOINT, &endpoint)]);
    world.settled().await;
    collector.got(1, "the one that answered", is_process).await;
    world.signal(a, Signal::CONT);
    let processes = collector.got(2, "the one that came too late", is_process).await;
    let [first, late] = processes.as_slice() else { panic!("{processes:#?}") };
    assert_eq!(first.get("startjobs.settled"), "done");
    assert_ne!(late.get("startjobs.settled"), "done");
    assert_eq!((&first.trace, first.parent.as_str(), late.parent.as_str()), (&late.trace, "", ""));
    assert_ne!((&first.id, first.get("messaging.client.id")), (&late.id, late.get("messaging.client.id")));
    // Only one has sent an outcome.
    let sends = collector.spans(|span| span.name == "send runtime:job_results");
    assert_eq!(sends.iter().map(|span| &span.parent).collect::<Vec<_>>(), [&first.id]);
    assert_eq!(world.log(b).processed().len(), 1);
}
