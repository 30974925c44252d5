//! The settle script, call by call, on a real redis-server: what it must not do when Redis refuses a part of it.

use std::time::Duration;

use startjobs::redis::Kind;
use startjobs::stream::settle::{Ending, Settled, Terms};

use super::{CLAIM_IDLE, GROUP, JOBS, MIRROR, RESULTS, Stream, answered, each_version, malformed, terms};

#[tokio::test]
async fn without_an_answer_of_the_ledger_nothing_is_published() {
    let stream = Stream::new().await;
    let id = stream.append("*").await;
    stream.read().await;
    let batch = [answered(id)];
    assert_eq!(stream.member.settle(&batch, terms(1, false)).await.expect("settled").settled, [Settled::Done]);
    // Settled, and pending once more: as after a group that was lost.
    stream.redis(&["XGROUP", "SETID", JOBS, GROUP, "0"]).await;
    stream.read().await;
    let narrow = stream.narrow("me", &["-smismember"]).await;
    let refused = narrow.settle(&batch, terms(1, false)).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(stream.outcomes().await, 1);
    // With the right back it is known, and only acknowledged.
    assert_eq!(stream.member.settle(&batch, terms(1, false)).await.expect("settled").settled, [Settled::Duplicate]);
    assert_eq!((stream.outcomes().await, stream.pending().await.len()), (1, 0));
}

#[tokio::test]
async fn what_was_put_back_holds_the_mirror_back_although_the_rest_of_its_batch_is_refused() {
    let stream = Stream::new().await;
    // Older than the ledger, and of the same hour.
    let (old, next) = (stream.append("1000-0").await, stream.append("2000-0").await);
    stream.read().await;
    stream.redis(&["XACK", JOBS, GROUP, "1000-0"]).await;
    stream.redis(&["SET", RESULTS, "x"]).await;
    let batch = [answered(old), answered(next)];
    let reply = stream.member.settle(&batch, terms(2, false)).await.expect("an answer for each");
    assert_eq!(reply.settled[0], Settled::Expired);
    assert!(matches!(&reply.settled[1], Settled::Refused(why) if why.contains("WRONGTYPE")), "{reply:?}");
    assert_eq!(stream.redis(&["GET", MIRROR]).await.as_string().as_deref(), Some("0-0"));
    assert_eq!(stream.pending().await.len(), 2);
}

#[tokio::test]
async fn a_key_of_another_type_is_named_and_nothing_is_written() {
    let stream = Stream::new().await;
    let id = stream.append("*").await;
    stream.read().await;
    stream.redis(&["SET", RESULTS, "x"]).await;
    let refused = stream.member.settle(&[answered(id)], terms(1, false)).await.expect_err("refused");
    assert!(refused.kind == Kind::WrongType && refused.text.contains(RESULTS), "{refused:?}");
    stream.redis(&["DEL", RESULTS]).await;
    // Neither dead letters nor attempts nor the ledger's index are needed for a plain outcome.
    for key in [":dead", ":attempts", ":ledgers"] {
        stream.redis(&["SET", &format!("{JOBS}{key}"), "x"]).await;
    }
    assert_eq!(stream.member.settle(&[answered(id)], terms(1, false)).await.expect("settled").settled, [Settled::Done]);
    assert_eq!(stream.outcomes().await, 1);
}

#[tokio::test]
async fn the_index_is_told_of_a_bucket_where_the_terms_say_so() {
    let stream = Stream::new().await;
    let ledgers = format!("{JOBS}:ledgers");
    for marks_index in [true, false, true] {
        let id = stream.append("*").await;
        stream.read().await;
        let terms = Terms { marks_index, ..terms(1, false) };
        let reply = stream.member.settle(&[answered(id)], terms).await.expect("settled");
        assert_eq!(reply.settled, [Settled::Done]);
        assert_eq!(stream.redis(&["ZCARD", &ledgers]).await.as_i64(), Some(i64::from(marks_index)));
        stream.redis(&["DEL", &ledgers]).await;
    }
}

#[tokio::test]
async fn the_janitor_removes_attempts_that_a_settle_did_not_know_of() {
    let stream = Stream::new().await;
    let id = stream.append("*").await;
    stream.read().await;
    let attempts = format!("{JOBS}:attempts");
    stream.redis(&["HSET", &attempts, &id.to_string(), "1 0 0", "9999999999999-0", "1 0 0"]).await;
    stream.member.settle(&[answered(id)], terms(1, false)).await.expect("settled");
    assert_eq!(stream.redis(&["HLEN", &attempts]).await.as_i64(), Some(2));
    stream.member.tidy(Duration::from_secs(1), CLAIM_IDLE, Duration::from_secs(3_600)).await.expect("tidied");
    let left: Vec<String> = stream.redis(&["HKEYS", &attempts]).await.convert().expect("names");
    assert_eq!(left, ["9999999999999-0"]);
}

#[tokio::test]
async fn a_right_that_is_missing_for_a_moment_doubles_and_loses_nothing() {
    each_version(async |stream| {
        let commands =
            ["xadd", "sadd", "xack", "mset", "mget", "xpending", "xinfo", "smismember", "zadd", "hdel", "time"];
        for (number, command) in commands.into_iter().enumerate() {
            let ids = [stream.append("*").await, stream.append("*").await];
            stream.read().await;
            let batch = [answered(ids[0]), malformed(ids[1])];
            let taken = format!("-{command}");
            let narrow = stream.narrow("me", &[taken.as_str()]).await;
            for _ in 0..3 {
                // Refused as a whole, in parts, or not at all where the command is not needed.
                drop(narrow.settle(&batch, terms(2, true)).await);
            }
            let reply = stream.member.settle(&batch, terms(2, true)).await.expect("settled");
            let done = [Settled::Done, Settled::Duplicate];
            assert!(reply.settled.iter().all(|settled| done.contains(settled)), "{command}: {reply:?}");
            let so_far = i64::try_from(number).expect("few") + 1;
            assert_eq!(stream.outcomes().await, so_far, "outcomes without {command}");
            assert_eq!(stream.length(&format!("{JOBS}:dead")).await, so_far, "dead letters without {command}");
            assert!(stream.pending().await.is_empty(), "pending without {command}");
            let mirror = stream.redis(&["GET", MIRROR]).await.as_string();
            assert_eq!(mirror, Some(ids[1].to_string()), "the mirror without {command}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_that_redis_has_lost_is_not_answered() {
    each_version(async |stream| {
        let kept = stream.append("5-0").await;
        stream.read().await;
        let lost = "6-0".parse().expect("an id");
        let reply = stream.member.settle(&[answered(lost)], terms(1, false)).await.expect("an answer");
        assert_eq!((reply.settled, stream.outcomes().await), (vec![Settled::Unknown], 0));
        assert_eq!(stream.redis(&["GET", MIRROR]).await.as_string().as_deref(), Some("0-0"));
        let reply = stream.member.settle(&[answered(kept)], terms(1, false)).await.expect("an answer");
        assert_eq!((reply.settled, stream.outcomes().await), (vec![Settled::Done], 1));
    })
    .await;
}

#[tokio::test]
async fn the_mirror_follows_the_oldest_pending_entry_whichever_batch_ends_it() {
    each_version(async |stream| {
        let mut ids = Vec::new();
        for number in 1..=6 {
            ids.push(stream.append(&format!("{number}-0")).await);
        }
        stream.read().await;
        // In this order; what the mirror must be behind each.
        for (settled, mirror) in [(2, "0-0"), (1, "0-0"), (0, "3-0"), (4, "3-0"), (5, "3-0"), (3, "6-0")] {
            stream.member.settle(&[answered(ids[settled])], terms(6, false)).await.expect("settled");
            assert_eq!(
                stream.redis(&["GET", MIRROR]).await.as_string().as_deref(),
                Some(mirror),
                "after {}",
                ids[settled]
            );
        }
        // Set back, everything is pending again, and the mirror with it.
        stream.redis(&["XGROUP", "SETID", JOBS, GROUP, "0"]).await;
        stream.read().await;
        stream.member.settle(&[answered(ids[5])], terms(6, false)).await.expect("settled");
        assert_eq!(stream.redis(&["GET", MIRROR]).await.as_string().as_deref(), Some("0-0"));
    })
    .await;
}

#[tokio::test]
async fn an_outcome_that_carries_a_trace_has_one_field_more_wherever_it_stands_in_its_batch() {
    each_version(async |stream| {
        // Told by three bits: traced, dead-lettered too, settled before.
        let mut batch = Vec::new();
        for kind in 0..8_u8 {
            let id = stream.append("*").await;
            let (_, mut ending) = answered(id);
            if let (0, Ending::Outcome(outcome)) = (kind & 1, &mut ending) {
                outcome.carry(Some(format!("trace of {id}")));
            }
            let (_, letter) = malformed(id);
            if let (2, Ending::Outcome(outcome), Ending::Dead(letter)) = (kind & 2, &ending, letter) {
                ending = Ending::Both(outcome.clone(), letter);
            }
            batch.push((id, ending));
        }
        stream.read().await;
        // What was settled before is not published again, and what follows it is read from its right place.
        stream.member.settle(&[answered(batch[4].0)], terms(8, false)).await.expect("settled");
        let reply = stream.member.settle(&batch, terms(8, false)).await.expect("settled");
        let done = reply.settled.iter().filter(|&settled| *settled == Settled::Done).count();
        assert_eq!((done, &reply.settled[4]), (7, &Settled::Duplicate));
        assert_eq!(stream.length(&format!("{JOBS}:dead")).await, 4);
        let entries: Vec<(String, Vec<String>)> =
            stream.redis(&["XRANGE", RESULTS, "-", "+"]).await.convert().expect("entries");
        let of = |id: &str| {
            let mut found = entries.iter().filter(|(_, flat)| flat[13] == id);
            let (Some((_, flat)), None) = (found.next(), found.next()) else { panic!("{id} in {entries:?}") };
            flat.get(20..).unwrap_or_default().to_vec()
        };
        for (kind, (id, _)) in batch.iter().enumerate() {
            let is_traced = kind & 1 == 0 && kind != 4;
            let expected =
                if is_traced { vec!["traceparent".to_owned(), format!("trace of {id}")] } else { Vec::new() };
            assert_eq!(of(&id.to_string()), expected, "{kind}");
        }
    })
    .await;
}
