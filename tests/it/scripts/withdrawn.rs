//! What a sick host counted is withdrawn, and what it tried is passed on.

use startjobs::stream::claim::{Aim, Swept};
use startjobs::stream::entry_id::EntryId;
use startjobs::stream::renew::ReplicaState;

use super::{CLAIM_IDLE, HOUR, Stream, about, answered, each_version, terms};
use crate::support::sweeps::by_silence;

const ATTEMPTS: &str = "runtime:start_jobs:attempts";

async fn field(stream: &Stream, name: &str) -> Option<String> {
    stream.redis(&["HGET", ATTEMPTS, name]).await.as_string()
}

async fn count(stream: &Stream, id: EntryId, times: u64) {
    for _ in 0..times {
        stream.member.record_failure(id, HOUR).await.expect("counted").expect("it is ours");
    }
}

#[tokio::test]
async fn no_more_is_withdrawn_than_was_counted_and_nothing_of_what_is_settled() {
    each_version(async |stream| {
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(stream.append("*").await);
        }
        stream.read().await;
        let [once, often, crashed, settled] = ids[..] else { panic!("four entries") };
        stream.redis(&["HSET", ATTEMPTS, &crashed.to_string(), "2 0 0"]).await;
        for (id, times) in [(once, 1), (often, 3), (crashed, 1), (settled, 2)] {
            count(&stream, id, times).await;
        }
        stream.member.settle(&[answered(settled)], terms(4, true)).await.expect("settled");
        // Another consumer may have it by now.
        stream.redis(&["XCLAIM", super::JOBS, super::GROUP, "you", "0", &once.to_string(), "JUSTID"]).await;

        let counts = [(once, 1), (often, 2), (crashed, 5), (settled, 2)];
        assert_eq!(stream.member.withdraw_failures(&counts).await.expect("withdrawn"), 4);
        let age = |id: EntryId| format!("age:{id}");
        for name in [once.to_string(), age(once), settled.to_string(), age(settled), age(crashed)] {
            assert_eq!(field(&stream, &name).await, None, "{name}");
        }
        assert_eq!(field(&stream, &crashed.to_string()).await.as_deref(), Some("2 0 0"));
        let left = field(&stream, &often.to_string()).await.expect("one is left");
        assert!(left.starts_with("0 1 ") && field(&stream, &age(often)).await.is_some(), "{left}");
        // As if the reply had been lost.
        assert_eq!(stream.member.withdraw_failures(&counts).await.expect("withdrawn"), 1);
        assert_eq!(field(&stream, &often.to_string()).await, None);
        assert_eq!(field(&stream, &crashed.to_string()).await.as_deref(), Some("2 0 0"));
        // The next failure is its first again.
        let first = stream.member.record_failure(often, HOUR).await.expect("counted").expect("ours");
        assert_eq!(first.failures, 1);
        assert_eq!(field(&stream, &age(often)).await.as_deref(), Some("0"));
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_passes_one_on_is_given_the_next() {
    each_version(async |stream| {
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(stream.append("*").await);
        }
        stream.read().await;
        stream.member.renew(ReplicaState::Running, &about(), None, &ids).await.expect("renewed");
        assert_eq!(stream.member.hand_back(&ids).await.expect("given back"), 3);
        let mut tried = Vec::new();
        for _ in 0..5 {
            let reply = stream.member.sweep(Aim::Take, by_silence(CLAIM_IDLE, CLAIM_IDLE, 1, true)).await;
            let Swept::Done(sweep) = reply.expect("swept").swept else { panic!("it is due") };
            let taken: Vec<EntryId> = sweep.claimed.iter().map(|delivery| delivery.id).collect();
            stream.member.pass_on(&taken).await.expect("given back");
            tried.extend(taken);
        }
        // Behind the last one the list is looked through from its front.
        let mut expected = ids.clone();
        expected.extend(&ids);
        assert_eq!(tried, expected[..tried.len()]);
        assert!(tried.len() >= 4, "{tried:?}");
    })
    .await;
}
