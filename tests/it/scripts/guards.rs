//! The conditions of the scripts, one by one: each of these tests fails where its condition is taken out of the script.

use std::time::Duration;

use startjobs::stream::adopt::AdoptionState;
use startjobs::stream::claim::{Aim, Swept};
use startjobs::stream::entry_id::EntryId;
use startjobs::stream::renew::{Renewal, ReplicaState};
use startjobs::stream::settle::Settled;
use startjobs::stream::{Group, Member};

use super::{CLAIM_IDLE, GROUP, HOUR, JOBS, MIRROR, RESULTS, Stream, about, answered, each_version, terms};
use crate::support::sweeps::by_silence;

const SWEEP: &str = "runtime:start_jobs:sweep";

/// So many new entries, delivered to this consumer.
async fn delivered(stream: &Stream, count: usize, consumer: &str) -> Vec<EntryId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(stream.append("*").await);
    }
    stream.read_as(consumer).await;
    ids
}

async fn mirror(stream: &Stream) -> Option<String> {
    stream.redis(&["GET", MIRROR]).await.as_string()
}

async fn settle(stream: &Stream, consumer: &str, ids: &[EntryId]) -> Vec<Settled> {
    let batch: Vec<_> = ids.iter().map(|id| answered(*id)).collect();
    stream.other(consumer).settle(&batch, terms(100, false)).await.expect("settled").settled
}

/// What is pending, and for how many milliseconds it has lain there.
async fn idle_times(stream: &Stream) -> Vec<(String, u64)> {
    let rows: Vec<(String, String, u64, u64)> =
        stream.redis(&["XPENDING", JOBS, GROUP, "-", "+", "100"]).await.convert().expect("a list");
    rows.into_iter().map(|(id, _, idle, _)| (id, idle)).collect()
}

/// One of three entries is neither pending nor settled, and the mirror is already beyond it. Answers the ids.
async fn one_has_fallen_out(stream: &Stream) -> Vec<EntryId> {
    let ids = delivered(stream, 3, "me").await;
    stream.redis(&["XACK", JOBS, GROUP, &ids[1].to_string()]).await;
    settle(stream, "me", &[ids[0], ids[2]]).await;
    assert_eq!(mirror(stream).await, Some(ids[2].to_string()));
    ids
}

#[tokio::test]
async fn an_entry_of_another_is_not_given_back() {
    each_version(async |stream| {
        let ids = delivered(&stream, 1, "you").await;
        stream.redis(&["DEL", SWEEP]).await;
        assert_eq!(stream.member.hand_back(&ids).await.expect("asked"), 0);
        assert_eq!(stream.pending().await, [(ids[0].to_string(), "you".to_owned(), 1)]);
        assert!(idle_times(&stream).await.iter().all(|(_, idle)| *idle < 1_800_000));
        assert_eq!(stream.redis(&["EXISTS", SWEEP]).await.as_i64(), Some(0), "no sweep is due for it");
    })
    .await;
}

#[tokio::test]
async fn a_failure_with_an_entry_of_another_is_not_counted() {
    each_version(async |stream| {
        let ids = delivered(&stream, 1, "you").await;
        assert_eq!(stream.member.record_failure(ids[0], HOUR).await.expect("asked"), None);
        assert_eq!(stream.redis(&["EXISTS", &format!("{JOBS}:attempts")]).await.as_i64(), Some(0));
        let counted = stream.other("you").record_failure(ids[0], HOUR).await.expect("counted");
        assert_eq!(counted.map(|attempts| attempts.failures), Some(1));
    })
    .await;
}

#[tokio::test]
async fn an_entry_of_another_is_not_answered() {
    each_version(async |stream| {
        let (own, theirs) = (delivered(&stream, 1, "me").await[0], delivered(&stream, 1, "you").await[0]);
        assert_eq!(settle(&stream, "me", &[theirs]).await, [Settled::Lost]);
        assert_eq!(settle(&stream, "me", &[own, theirs]).await, [Settled::Done, Settled::Lost]);
        assert_eq!(stream.outcomes().await, 1);
        assert_eq!(stream.pending().await, [(theirs.to_string(), "you".to_owned(), 1)]);
        assert_eq!(mirror(&stream).await, Some(own.to_string()));
        assert_eq!(settle(&stream, "you", &[theirs]).await, [Settled::Done]);
    })
    .await;
}

#[tokio::test]
async fn what_is_settled_is_known_when_it_is_delivered_again() {
    each_version(async |stream| {
        let ids = delivered(&stream, 2, "me").await;
        settle(&stream, "me", &ids[..1]).await;
        let known = async |ids: &[EntryId]| -> Vec<bool> {
            let past = stream.member.group().history(ids).await.expect("asked");
            past.into_iter().map(|past| past.is_settled).collect()
        };
        assert_eq!(known(&ids).await, [true, false]);
        // Entries of two hours are looked up in another way.
        let old = EntryId { ms: ids[0].ms - 7_200_000, seq: 0 };
        assert_eq!(known(&[old, ids[0], ids[1]]).await, [false, true, false]);
    })
    .await;
}

#[tokio::test]
async fn what_the_original_worker_answered_is_known_as_settled() {
    each_version(async |stream| {
        let hours: Vec<u64> = {
            let now: Vec<u64> = stream.redis(&["TIME"]).await.convert().expect("seconds and microseconds");
            [3, 2, 1].iter().map(|hours| (now[0] - hours * 3_600) * 1_000).collect()
        };
        let mut ids = Vec::new();
        for ms in hours {
            ids.push(stream.append(&format!("{ms}-0")).await);
        }
        stream.read_as("gone").await;
        stream.redis(&["SET", MIRROR, &ids[1].to_string()]).await;
        let adoption = stream.member.adopt(CLAIM_IDLE).await.expect("a group");
        assert_eq!((adoption.state, adoption.acknowledged), (AdoptionState::Adopted, 2));
        let past = stream.member.group().history(&ids).await.expect("asked");
        assert_eq!(past.iter().map(|past| past.is_settled).collect::<Vec<_>>(), [true, true, false]);
        // Set back, they are delivered again, and nothing of them is published.
        stream.redis(&["XGROUP", "SETID", JOBS, GROUP, "0"]).await;
        stream.read_as("me").await;
        for id in &ids[..2] {
            assert_eq!(settle(&stream, "me", &[*id]).await, [Settled::Duplicate]);
        }
        assert_eq!(stream.outcomes().await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_given_back_is_claimed_before_the_next_sweep_would_be_due() {
    each_version(async |stream| {
        for leaves in [false, true] {
            let ids = delivered(&stream, 1, "you").await;
            for consumer in ["me", "you", "third"] {
                stream.other(consumer).renew(ReplicaState::Running, &about(), None, &[]).await.expect("renewed");
            }
            let sweep_as = async |consumer: &str| {
                stream
                    .other(consumer)
                    .sweep(Aim::Take, by_silence(CLAIM_IDLE, HOUR, 10, true))
                    .await
                    .expect("swept")
                    .swept
            };
            stream.redis(&["HDEL", SWEEP, "due"]).await;
            assert!(matches!(sweep_as("me").await, Swept::Done(sweep) if sweep.claimed.is_empty()));
            assert_eq!(sweep_as("third").await, Swept::NotDue);
            // The fleet's cursor is behind it.
            stream.redis(&["HSET", SWEEP, "cursor", &ids[0].to_string()]).await;
            let you = stream.other("you");
            let given =
                if leaves { you.leave(&about()).await.map(|left| left.entries) } else { you.hand_back(&ids).await };
            assert_eq!(given.expect("given back"), 1);
            let Swept::Done(sweep) = sweep_as("third").await else { panic!("no sweep is due, leaves: {leaves}") };
            assert_eq!(sweep.claimed.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), ids);
            assert_eq!(sweep.crashed, 0);
            settle(&stream, "third", &ids).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_a_renewal_puts_back_holds_the_mirror_back() {
    each_version(async |stream| {
        let ids = one_has_fallen_out(&stream).await;
        let renewed = stream.member.renew(ReplicaState::Running, &about(), None, &ids[1..2]).await.expect("renewed");
        assert_eq!(renewed.entries, [(ids[1], Renewal::Restored)]);
        assert_eq!(mirror(&stream).await, Some(ids[0].to_string()));
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_the_janitor_puts_back_holds_the_mirror_back_and_is_claimed_at_once() {
    each_version(async |stream| {
        let ids = one_has_fallen_out(&stream).await;
        stream.other("third").renew(ReplicaState::Running, &about(), None, &[]).await.expect("renewed");
        let sweep = async || {
            stream.other("third").sweep(Aim::Take, by_silence(CLAIM_IDLE, HOUR, 10, true)).await.expect("swept").swept
        };
        assert!(matches!(sweep().await, Swept::Done(_)));
        stream.redis(&["HSET", SWEEP, "by", "somebody", "cursor", &ids[2].to_string()]).await;
        assert_eq!(sweep().await, Swept::NotDue);
        assert_eq!(stream.tidy().await, [ids[1].to_string()]);
        assert_eq!(mirror(&stream).await, Some(ids[0].to_string()));
        let Swept::Done(sweep) = sweep().await else { panic!("no sweep is due") };
        assert_eq!(sweep.claimed.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), ids[1..2]);
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_is_lost_lets_the_mirror_go_and_is_known_as_settled() {
    each_version(async |stream| {
        let ids = delivered(&stream, 2, "you").await;
        settle(&stream, "you", &ids[1..]).await;
        assert_eq!(mirror(&stream).await.as_deref(), Some("0-0"));
        assert_eq!(stream.other("you").hand_back(&ids[..1]).await.expect("given back"), 1);
        stream.redis(&["XDEL", JOBS, &ids[0].to_string()]).await;
        stream.member.renew(ReplicaState::Running, &about(), None, &[]).await.expect("renewed");
        let swept = stream.member.sweep(Aim::Take, by_silence(CLAIM_IDLE, HOUR, 10, true)).await.expect("swept").swept;
        assert!(matches!(swept, Swept::Done(sweep) if sweep.lost == 1));
        assert_eq!(mirror(&stream).await, Some(ids[1].to_string()));
        assert!(stream.member.group().history(&ids[..1]).await.expect("asked")[0].is_settled);
        assert_eq!(settle(&stream, "me", &ids[..1]).await, [Settled::Duplicate]);
        assert_eq!(stream.length(&format!("{JOBS}:dead")).await, 1);
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_a_settle_puts_back_holds_the_mirror_back_although_nothing_else_is_pending() {
    each_version(async |stream| {
        // Older than the ledger, and of one hour.
        let (old, next) = (stream.append("1000-0").await, stream.append("2000-0").await);
        stream.read().await;
        stream.redis(&["XACK", JOBS, GROUP, "1000-0"]).await;
        assert_eq!(settle(&stream, "me", &[old, next]).await, [Settled::Expired, Settled::Done]);
        assert_eq!(mirror(&stream).await.as_deref(), Some("0-0"));
        assert_eq!(stream.pending().await.len(), 1);
    })
    .await;
}

/// The group of a replica that trims the jobs stream, on a server that trims exactly.
async fn trimming(stream: &Stream) -> Member {
    stream.redis(&["CONFIG", "SET", "stream-node-max-entries", "1"]).await;
    let mut settings = stream.settings.stream.clone();
    settings.trim_jobs = true;
    Group::new(&settings, std::sync::Arc::clone(&stream.connection)).member("me")
}

async fn tidy(member: &Member) -> Vec<String> {
    let tidied = member.tidy(Duration::ZERO, CLAIM_IDLE, HOUR).await.expect("tidied");
    tidied.map(|tidied| tidied.orphans).unwrap_or_default()
}

#[tokio::test]
async fn only_what_lies_before_the_oldest_pending_entry_is_trimmed() {
    each_version(async |stream| {
        let member = trimming(&stream).await;
        let ids = delivered(&stream, 10, "you").await;
        let others: Vec<EntryId> = ids.iter().copied().filter(|id| *id != ids[4]).collect();
        settle(&stream, "you", &others).await;
        for _ in 0..3 {
            tidy(&member).await;
            stream.redis(&["HDEL", SWEEP, "janitor_due"]).await;
        }
        let left: Vec<(String, Vec<String>)> =
            stream.redis(&["XRANGE", JOBS, "-", "+"]).await.convert().expect("entries");
        let left: Vec<String> = left.into_iter().map(|(id, _)| id).collect();
        let expected: Vec<String> = ids[3..].iter().map(ToString::to_string).collect();
        assert_eq!(left, expected);
    })
    .await;
}

#[tokio::test]
async fn what_is_put_back_behind_the_walk_is_not_trimmed() {
    each_version(async |stream| {
        let member = trimming(&stream).await;
        // Too old for the ledger: the walk leaves it behind, and its holder puts it back.
        let (old, last) = (stream.append("1000-0").await, stream.append("*").await);
        stream.read().await;
        stream.redis(&["XACK", JOBS, GROUP, "1000-0"]).await;
        settle(&stream, "me", &[last]).await;
        assert_eq!(stream.tidy().await, Vec::<String>::new());
        assert_eq!(stream.redis(&["GET", &format!("{JOBS}:verified")]).await.as_string(), Some(last.to_string()));
        assert_eq!(settle(&stream, "me", &[old]).await, [Settled::Expired]);
        stream.redis(&["HDEL", SWEEP, "janitor_due"]).await;
        tidy(&member).await;
        assert_eq!((stream.length(JOBS).await, stream.pending().await.len()), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn what_the_walk_has_not_seen_is_not_trimmed() {
    each_version(async |stream| {
        let member = trimming(&stream).await;
        let blob = "x".repeat(64 * 1024);
        let mut ids: Vec<EntryId> = Vec::new();
        for _ in 0..20 {
            let id = stream.redis(&["XADD", JOBS, "*", "blob", &blob]).await.as_string().expect("an id");
            ids.push(id.parse().expect("an id"));
        }
        stream.read_as("you").await;
        settle(&stream, "you", &ids[..10]).await;
        // The rest falls out unanswered, far before the walk.
        for id in &ids[10..] {
            stream.redis(&["XACK", JOBS, GROUP, &id.to_string()]).await;
        }
        let mut found = Vec::new();
        for _ in 0..20 {
            found.extend(tidy(&member).await);
            stream.redis(&["HDEL", SWEEP, "janitor_due"]).await;
        }
        assert_eq!(found, ids[10..].iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(stream.length(JOBS).await < 20, "nothing is trimmed");
        assert_eq!(stream.redis(&["EXISTS", RESULTS]).await.as_i64(), Some(1));
    })
    .await;
}
