//! What fell out of the group unanswered is found and put back, and nothing else is.

use super::{CLAIM_IDLE, GROUP, JOBS, MIRROR, Stream, answered, each_version, terms};

/// Entries with these sequence numbers, read by `consumer`.
async fn delivered(stream: &Stream, count: u64, consumer: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(stream.append("*").await.to_string());
    }
    stream.read_as(consumer).await;
    ids
}

#[tokio::test]
async fn a_group_that_is_lost_before_the_walk_loses_no_entry_that_had_fallen_out_of_it() {
    each_version(async |stream| {
        let ids = delivered(&stream, 3, "me").await;
        stream.member.settle(&[answered(ids[0].parse().expect("an id"))], terms(3, false)).await.expect("settled");
        stream.redis(&["XGROUP", "DELCONSUMER", JOBS, GROUP, "me"]).await;
        // Nothing is pending: with the next settle the mirror follows.
        let last = stream.append("*").await;
        stream.read().await;
        stream.member.settle(&[answered(last)], terms(1, false)).await.expect("settled");
        assert_eq!(stream.redis(&["GET", MIRROR]).await.as_string(), Some(last.to_string()));
        stream.redis(&["XGROUP", "DESTROY", JOBS, GROUP]).await;
        stream.member.adopt(CLAIM_IDLE).await.expect("a group");
        assert_eq!(stream.tidy().await, ids[1..]);
        assert_eq!(stream.redis(&["GET", MIRROR]).await.as_string(), Some(ids[0].clone()));
    })
    .await;
}

#[tokio::test]
async fn what_the_original_worker_answered_before_the_group_was_made_anew_is_no_orphan() {
    each_version(async |stream| {
        let ids = delivered(&stream, 3, "me").await;
        stream.redis(&["XGROUP", "DESTROY", JOBS, GROUP]).await;
        stream.redis(&["SET", MIRROR, &ids[1]]).await;
        stream.member.adopt(CLAIM_IDLE).await.expect("a group");
        stream.read().await;
        assert_eq!(stream.pending().await.len(), 1);
        assert_eq!(stream.tidy().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_deleted_payload_makes_no_orphans_of_living_entries() {
    each_version(async |stream| {
        let ids = delivered(&stream, 8, "you").await;
        for id in &ids[..3] {
            stream.redis(&["XDEL", JOBS, id]).await;
        }
        for _ in 0..5 {
            assert_eq!(stream.tidy().await, Vec::<String>::new());
        }
        let expected: Vec<_> = ids.iter().map(|id| (id.clone(), "you".to_owned(), 1)).collect();
        assert_eq!(stream.pending().await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_settled_entry_is_looked_at_once_and_an_entry_that_falls_out_behind_the_walk_is_found() {
    each_version(async |stream| {
        let ids = delivered(&stream, 40, "me").await;
        for id in ids.iter().skip(1).filter(|id| *id != &ids[20]) {
            stream.member.settle(&[answered(id.parse().expect("an id"))], terms(40, false)).await.expect("settled");
        }
        assert_eq!(stream.tidy().await, Vec::<String>::new());
        stream.redis(&["CONFIG", "RESETSTAT"]).await;
        for _ in 0..3 {
            assert_eq!(stream.tidy().await, Vec::<String>::new());
        }
        assert_eq!(stream.calls("xrange").await, 0, "the walk went back");
        // Far behind the walk: acknowledged by hand, without an answer.
        stream.redis(&["XACK", JOBS, GROUP, &ids[20]]).await;
        assert_eq!(stream.tidy().await, [ids[20].clone()]);
        assert_eq!(stream.tidy().await, Vec::<String>::new());
        // The bucket alone is deleted: what the walk has seen settled stays settled.
        let ledgers: Vec<String> = stream.redis(&["KEYS", &format!("{JOBS}:ledger:*")]).await.convert().expect("keys");
        for bucket in &ledgers {
            stream.redis(&["DEL", bucket]).await;
        }
        assert_eq!(stream.tidy().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn the_walk_goes_through_the_gaps_between_pending_entries_and_copies_none_of_those() {
    each_version(async |stream| {
        let blob = "x".repeat(64 * 1024);
        for number in 0..200 {
            stream.redis(&["XADD", JOBS, "*", "n", &number.to_string(), "blob", &blob]).await;
        }
        stream.read_as("you").await;
        stream.redis(&["CONFIG", "RESETSTAT"]).await;
        let before = lua_memory(&stream).await;
        assert_eq!(stream.tidy().await, Vec::<String>::new());
        let grown = lua_memory(&stream).await.saturating_sub(before);
        assert!(grown < 1024 * 1024, "the walk has taken {grown} bytes of payloads into Lua");
    })
    .await;
}

async fn lua_memory(stream: &Stream) -> u64 {
    let info = stream.redis(&["INFO", "memory"]).await.as_string().expect("text");
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory_lua:"));
    line.expect("the memory of Lua").parse().expect("a number")
}

#[tokio::test]
async fn entries_of_many_hours_are_walked_with_all_their_ledger_buckets_declared() {
    each_version(async |stream| {
        let hour = 3_600_000_u64;
        let now: Vec<u64> = stream.redis(&["TIME"]).await.convert().expect("seconds and microseconds");
        let mut ids = Vec::new();
        for number in 1..=20_u64 {
            ids.push(stream.append(&format!("{}-0", now[0] * 1000 - (21 - number) * hour)).await);
        }
        stream.read_as("you").await;
        for id in &ids[..10] {
            stream.other("you").settle(&[answered(*id)], terms(20, false)).await.expect("settled");
        }
        stream.redis(&["XGROUP", "DELCONSUMER", JOBS, GROUP, "you"]).await;
        let expected: Vec<String> = ids[10..].iter().map(ToString::to_string).collect();
        assert_eq!(stream.tidy().await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_history_of_more_hours_than_one_call_declares_is_walked_to_its_end() {
    let stream = Stream::new().await;
    let hour = 3_600_000_u64;
    let now: Vec<u64> = stream.redis(&["TIME"]).await.convert().expect("seconds and microseconds");
    let mut ids = Vec::new();
    for number in 0..600_u64 {
        ids.push(stream.append(&format!("{}-0", now[0] * 1000 + 60_000 - (1_200 - 2 * number) * hour)).await);
    }
    stream.read_as("you").await;
    stream.redis(&["XGROUP", "DELCONSUMER", JOBS, GROUP, "you"]).await;
    // What is older than the ledger can be told of by nothing.
    let expected: Vec<String> = ids[588..].iter().map(ToString::to_string).collect();
    assert_eq!(stream.tidy().await, expected);
    // A member of the index that is none of ours goes, and stops nothing.
    let ledgers = format!("{JOBS}:ledgers");
    stream.redis(&["ZADD", &ledgers, "1", &format!("{JOBS}:ledger:x"), "1", "elsewhere"]).await;
    stream.tidy().await;
    assert_eq!(stream.redis(&["ZCARD", &ledgers]).await.as_i64(), Some(0));
}

#[tokio::test]
async fn an_offset_that_was_moved_over_entries_of_many_hours_is_taken_over() {
    let stream = Stream::new().await;
    let mut last = String::new();
    for number in 1..=600_u64 {
        last = stream.append(&format!("{}-0", 2 * number * 3_600_000)).await.to_string();
    }
    stream.read_as("you").await;
    stream.redis(&["SET", MIRROR, &last]).await;
    let adopted = stream.member.adopt(CLAIM_IDLE).await.expect("taken over");
    assert_eq!((adopted.acknowledged, adopted.mirror), (600, last));
}
