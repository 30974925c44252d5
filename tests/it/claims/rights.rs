//! Single rights of the Redis user are withdrawn after a kill: the crash is counted exactly once, by the claim that
//! succeeds.

use startjobs::stream::Group;
use startjobs::stream::claim::{Aim, Swept};

use super::{CLAIM_IDLE, DEAD, INTERVAL, JOBS, SWEEP, Stream, connect, ids, on_every_server, seen};
use crate::support::sweeps::by_silence;
use crate::support::world::load;

on_every_server! {
    a_crash_is_counted_once_whatever_is_refused_meanwhile
    runs_are_claimed_without_the_right_to_xautoclaim
}

/// Everything that a claim calls.
const COMMANDS: [&str; 15] = [
    "xclaim", "hset", "hdel", "hget", "hmget", "hgetall", "xadd", "xack", "sadd", "zadd", "mset", "xgroup", "xpending",
    "xrange", "time",
];

async fn a_crash_is_counted_once_whatever_is_refused_meanwhile(stream: Stream) {
    stream.redis(&["ACL", "SETUSER", "narrow", "on", ">x", "~*", "&*", "+@all"]).await;
    let url = stream.server.url().replace("redis://", "redis://narrow:x@");
    let narrow = connect(&load(&[("redis-url".to_owned(), url)])).await;
    let member = Group::new(&stream.settings.stream, narrow).member("me");
    let mut lost = 0;
    for command in COMMANDS {
        let owner = format!("dead-{command}");
        let (one, deleted) = (stream.held(&owner, 61_000).await, stream.held(&owner, 61_000).await);
        stream.redis(&["DEL", super::REPLICAS]).await;
        for (name, at) in [("me", 0), ("third", 0), (owner.as_str(), 61_000)] {
            stream.present(name, seen(at)).await;
        }
        stream.redis(&["XDEL", JOBS, &deleted]).await;
        lost += 1;
        stream.redis(&["ACL", "SETUSER", "narrow", &format!("-{command}")]).await;
        let mut refused = 0;
        for _ in 0..8 {
            stream.redis(&["HSET", SWEEP, "due", "0"]).await;
            refused += u64::from(member.sweep(Aim::Take, by_silence(CLAIM_IDLE, INTERVAL, 100, true)).await.is_err());
        }
        assert!(
            refused >= 1 || ["hgetall", "hget", "xgroup", "hdel", "mset"].contains(&command),
            "{command} is not called"
        );
        stream.redis(&["ACL", "SETUSER", "narrow", "+@all"]).await;
        for _ in 0..2 {
            stream.take().await;
        }
        assert_eq!(stream.written(&one).await.0, 1, "{command}");
        assert_eq!(stream.redis(&["XLEN", DEAD]).await.as_i64(), Some(lost), "{command}");
        let claimed = stream.redis(&["XPENDING", JOBS, super::GROUP, &one, &one, "1"]).await;
        assert!(format!("{claimed:?}").contains("me"), "{command}: {claimed:?}");
        assert!(ids(&stream.take().await).is_empty(), "{command}");
    }
}

async fn runs_are_claimed_without_the_right_to_xautoclaim(stream: Stream) {
    stream.redis(&["ACL", "SETUSER", "narrow", "on", ">x", "~*", "&*", "+@all", "-xautoclaim"]).await;
    let url = stream.server.url().replace("redis://", "redis://narrow:x@");
    let narrow = connect(&load(&[("redis-url".to_owned(), url)])).await;
    let member = Group::new(&stream.settings.stream, narrow).member("me");
    for (name, at) in [("third", 0), ("dead", 61_000)] {
        stream.present(name, seen(at)).await;
    }
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(stream.held("dead", 61_000).await);
    }
    let swept = member.sweep(Aim::Take, by_silence(CLAIM_IDLE, INTERVAL, 100, true)).await.expect("swept").swept;
    let Swept::Done(sweep) = swept else { panic!("{swept:?}") };
    assert_eq!(ids(&sweep), held);
    assert!(sweep.claimed.iter().all(|delivery| (delivery.deliveries, delivery.crashes) == (2, 1)), "{sweep:?}");
    for id in held {
        let pending = stream.redis(&["XPENDING", JOBS, super::GROUP, &id, &id, "1"]).await;
        let rows: Vec<(String, String, u64, u64)> = pending.convert().expect("a row");
        assert_eq!((rows[0].1.as_str(), rows[0].3), ("me", 2));
    }
}
