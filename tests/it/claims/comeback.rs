//! A replica that was declared dead while it lived: it learns it, writes nothing, and with it goes what was counted. And what
//! the server refuses to tell.

use std::sync::Arc;

use startjobs::redis::{Connection, Value};
use startjobs::stream::claim::{Aim, Sweep, SweepTerms, Swept};
use startjobs::stream::entry_id::EntryId;
use startjobs::stream::renew::{Hearing, ReplicaState};
use startjobs::stream::{Group, Member};

use super::listeners::{Fleet, INTERVAL, about, dead, record, terms};
use super::{ATTEMPTS, JOBS, REPLICAS, Stream, connect, ids, on_every_server};
use crate::support::world::load;

on_every_server! {
    one_that_was_declared_dead_learns_it_and_renews_nothing
    leaving_takes_back_what_was_counted_against_it_and_no_more
    the_time_at_which_a_silent_one_was_lost_is_written_once
    what_a_renewal_hears_is_written_with_it
    a_user_without_the_right_is_refused_once_in_five_minutes
    a_judge_without_the_right_does_not_ask_with_every_look
    nothing_is_taken_back_twice_where_a_right_is_missing_meanwhile
}

async fn one_that_was_declared_dead_learns_it_and_renews_nothing(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    fleet.lives("other", record(400)).await;
    let held = fleet.stream.held("other", 300_000).await;
    fleet.dies(&["other"]).await;
    // It has subscribed again.
    fleet.subscribe("other");
    let presence = fleet.presence("other").await;
    let other = fleet.stream.as_consumer("other");
    let id: EntryId = held.parse().expect("an id");
    let renewed = other.renew(ReplicaState::Running, &about(), Some(2), &[id]).await.expect("answered");
    assert_eq!((renewed.hearing, renewed.entries.len(), renewed.strays.len()), (Hearing::DeclaredDead, 0, 0));
    assert_eq!(fleet.presence("other").await, presence);
    let idle = fleet.stream.redis(&["XPENDING", JOBS, super::GROUP, &held, &held, "1"]).await;
    let rows: Vec<(String, String, u64, u64)> = idle.convert().expect("a row");
    assert!(rows[0].1 == "other" && rows[0].2 >= 300_000, "{rows:?}");
    for aim in [Aim::Watch, Aim::Look, Aim::Take, Aim::Alone, Aim::Another] {
        fleet.stream.due().await;
        let reply = fleet.call("other", aim, terms(Some(2))).await;
        assert_eq!((reply.swept, reply.next_in), (Swept::DeclaredDead, INTERVAL), "{aim:?}");
    }
    // However long it was away.
    fleet.is("other", dead(2_000)).await;
    assert_eq!(fleet.call("other", Aim::Take, terms(Some(2))).await.swept, Swept::DeclaredDead);
    assert_eq!(fleet.renews("other", None).await, Hearing::DeclaredDead);
}

async fn leaving_takes_back_what_was_counted_against_it_and_no_more(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    for name in ["other", "b", "third", "fourth", "fifth"] {
        fleet.lives(name, record(400)).await;
    }
    let held = fleet.holds("other", 5).await;
    let [pending, settled, twice, counted, kept] = &held[..] else { panic!("five") };
    // A crash of before, and one that is claimed at last by one that runs it alone.
    fleet.stream.redis(&["HSET", ATTEMPTS, counted, "1 3 7", kept, "4 0 0", &format!("alone:{kept}"), "other"]).await;
    fleet.dies(&["other"]).await;
    let sweep = SweepTerms { want: 1, ..terms(Some(1)) };
    for (name, id) in [("me", pending), ("me", settled), ("b", twice)] {
        fleet.stream.due().await;
        let Swept::Done(sweep) = fleet.call(name, Aim::Take, sweep).await.swept else { panic!("not swept") };
        assert_eq!(ids(&sweep), std::slice::from_ref(id));
    }
    assert_eq!(ids(&fleet.claims("third", Aim::Alone).await.0), std::slice::from_ref(counted));
    let charged = [pending, settled, twice, counted].map(String::clone);
    assert_eq!(fleet.charges("other").await, charged);
    // The claimer of one dies with it, in a fleet of six; another is settled.
    fleet.dies(&["b"]).await;
    assert_eq!(ids(&fleet.claims("me", Aim::Alone).await.0), std::slice::from_ref(twice));
    assert_eq!((fleet.crashes(twice).await, fleet.charges("b").await), (2, vec![twice.clone()]));
    fleet.stream.redis(&["HDEL", ATTEMPTS, settled]).await;
    fleet.stream.redis(&["XACK", JOBS, super::GROUP, settled]).await;

    let left = fleet.stream.as_consumer("other").leave(&about()).await.expect("left");
    assert_eq!((left.entries, left.taken_back), (1, 3));
    let attempts = async |id: &str| fleet.stream.redis(&["HGET", ATTEMPTS, id]).await.as_string();
    assert_eq!((attempts(pending).await.as_deref(), attempts(settled).await), (Some("0 0 0"), None));
    assert_eq!((fleet.crashes(twice).await, attempts(counted).await.as_deref()), (1, Some("1 3 7")));
    assert_eq!(attempts(kept).await.as_deref(), Some("4 0 0"));
    assert_eq!((fleet.charges("other").await.len(), fleet.charges("b").await), (0, vec![twice.clone()]));
    // A second time nothing is left to take back.
    let left = fleet.stream.as_consumer("other").leave(&about()).await.expect("left");
    assert_eq!((left.taken_back, fleet.crashes(twice).await), (0, 1));
    // What it still had is given back: its claim counts nothing, names no dead owner, and removes the consumer.
    assert!(fleet.presence("other").await.contains(" left {"));
    let (sweep, _) = fleet.claims("me", Aim::Alone).await;
    assert_eq!((ids(&sweep), sweep.crashed), (vec![kept.clone()], 0));
    assert_eq!(sweep.claimed[0].dead_owner, None);
    assert!(!fleet.stream.consumers().await.contains(&"other".to_owned()));
    // One that holds nothing any more is removed at once.
    fleet.is("fifth", dead(5)).await;
    fleet.stream.redis(&["XGROUP", "CREATECONSUMER", JOBS, super::GROUP, "fifth"]).await;
    assert_eq!(fleet.stream.as_consumer("fifth").leave(&about()).await.expect("left").entries, 0);
    assert!(!fleet.stream.consumers().await.contains(&"fifth".to_owned()));
}

async fn the_time_at_which_a_silent_one_was_lost_is_written_once(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    for name in ["third", "fourth"] {
        fleet.lives(name, record(0)).await;
    }
    fleet.holds("other", 2).await;
    fleet.lives("other", record(1_010)).await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        fleet.stream.due().await;
        let reply = fleet.call("me", Aim::Take, SweepTerms { want: 1, ..terms(Some(1)) }).await;
        let Swept::Done(sweep) = reply.swept else { panic!("not swept") };
        assert_eq!((sweep.crashed, reply.deaths.declared.len()), (1, 0));
        answers.push((reply.deaths.silent, fleet.stream.presence_member("other", "lost_ms").await));
    }
    assert_eq!(answers, [(1, answers[0].1), (0, answers[0].1)]);
    assert!(fleet.presence("other").await.contains(" running {\"lost_ms\":"));
    assert_eq!(fleet.charges("other").await.len(), 0);
    assert_eq!(fleet.renews("other", None).await, Hearing::Unheard);
    assert!(!fleet.presence("other").await.contains("lost_ms"));
}

async fn what_a_renewal_hears_is_written_with_it(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    let heard = async |fleet: &Fleet| {
        let record = fleet.presence("other").await;
        let json: serde_json::Value = serde_json::from_str(record.splitn(3, ' ').nth(2).expect("JSON")).expect("JSON");
        (json["heard_ms"].as_i64(), json["gen"].as_i64(), json["run"].as_str().map(str::to_owned))
    };
    let nothing = (None, None, None);
    assert_eq!(fleet.renews("other", Some(1)).await, Hearing::Unheard);
    assert_eq!(heard(&fleet).await, nothing);
    fleet.subscribe("other");
    assert_eq!(fleet.renews("other", None).await, Hearing::Unheard, "it knows of no subscription");
    assert_eq!(heard(&fleet).await, nothing);
    assert_eq!(fleet.renews("other", Some(1)).await, Hearing::Heard);
    let run = heard(&fleet).await.2.expect("the run");
    let me = fleet.presence("me").await;
    assert!(me.contains(&format!("\"run\":\"{run}\"")), "{me}");
    // The same generation is heard since the first time, another one anew.
    fleet.lives("other", record(400)).await;
    let first = heard(&fleet).await.0;
    assert_eq!(fleet.renews("other", Some(1)).await, Hearing::Heard);
    assert_eq!(heard(&fleet).await, (first, Some(1), Some(run.clone())));
    assert_eq!(fleet.renews("other", Some(2)).await, Hearing::Heard);
    let again = heard(&fleet).await;
    assert!(again.0 > first && again.1 == Some(2), "{again:?}");
    fleet.unsubscribe("other").await;
    assert_eq!(fleet.renews("other", Some(2)).await, Hearing::Unheard);
    assert_eq!(heard(&fleet).await, nothing);
}

/// A member that may do everything but this.
async fn narrow(fleet: &Fleet, consumer: &str, right: &str) -> (Member, Arc<Connection>) {
    let redis = &fleet.stream;
    redis.redis(&["ACL", "SETUSER", "narrow", "reset", "on", ">x", "~*", "&*", "+@all", right]).await;
    redis.redis(&["ACL", "LOG", "RESET"]).await;
    let url = redis.server.url().replace("redis://", "redis://narrow:x@");
    let connection = connect(&load(&[("redis-url".to_owned(), url)])).await;
    redis.redis(&["ACL", "LOG", "RESET"]).await;
    (Group::new(&redis.settings.stream, Arc::clone(&connection)).member(consumer), connection)
}

/// How often the server has logged a refusal. Similar ones are one entry with a count.
async fn refusals(fleet: &Fleet) -> i64 {
    let log: Vec<Vec<Value>> = fleet.stream.redis(&["ACL", "LOG"]).await.convert().expect("entries");
    log.iter().map(|entry| entry[1].as_i64().expect("a count")).sum()
}

async fn a_user_without_the_right_is_refused_once_in_five_minutes(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    fleet.subscribe("other");
    // Another that was heard and holds something, so that there is something to look for.
    fleet.lives("third", record(1)).await;
    fleet.holds("third", 1).await;
    for right in ["-pubsub", "-info"] {
        fleet.stream.redis(&["HDEL", REPLICAS, "other"]).await;
        let (other, _connection) = narrow(&fleet, "other", right).await;
        let renew = async || other.renew(ReplicaState::Running, &about(), Some(1), &[]).await.expect("renewed").hearing;
        assert_eq!(renew().await, Hearing::Refused, "{right}");
        let refused_at = fleet.stream.presence_member("other", "deaf_ms").await;
        for _ in 0..3 {
            assert_eq!(renew().await, Hearing::Refused, "{right}");
            fleet.stream.redis(&["HDEL", super::SWEEP, "watch_due"]).await;
            let swept = other.sweep(Aim::Take, terms(Some(1))).await.expect("swept");
            assert_eq!(swept.deaths.declared.len(), 0);
        }
        assert_eq!(fleet.stream.presence_member("other", "deaf_ms").await, refused_at, "{right}");
        assert_eq!(refusals(&fleet).await, 1, "{right}");
        // While it has no subscription it is not asked either, and that is not what it is told.
        let renewed = other.renew(ReplicaState::Running, &about(), None, &[]).await.expect("renewed");
        assert_eq!((renewed.hearing, refusals(&fleet).await), (Hearing::Unheard, 1));
        assert_eq!((renew().await, refusals(&fleet).await), (Hearing::Refused, 1), "nor when it has one again");
        for (ago, asked) in [(250, 1), (310, 2), (-50, 3)] {
            refused_before(&fleet, ago).await;
            assert_eq!((renew().await, refusals(&fleet).await), (Hearing::Refused, asked), "{right}, {ago} s ago");
        }
        fleet.stream.redis(&["ACL", "SETUSER", "narrow", "+@all"]).await;
        assert_eq!(renew().await, Hearing::Refused, "{right}: it is not asked yet");
        refused_before(&fleet, 310).await;
        assert_eq!(renew().await, Hearing::Heard, "{right}");
        assert!(!fleet.presence("other").await.contains("deaf_ms"));
    }
}

/// The server refused to tell so many seconds ago.
async fn refused_before(fleet: &Fleet, ago: i64) {
    let now = fleet.stream.now().await;
    let record = format!("{now} running {{\"born_ms\":1,\"since_ms\":1,\"deaf_ms\":{}}}", now - ago * 1_000);
    fleet.stream.redis(&["HSET", REPLICAS, "other", &record]).await;
}

async fn a_judge_without_the_right_does_not_ask_with_every_look(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    fleet.lives("third", record(400)).await;
    fleet.holds("third", 1).await;
    let (judge, _connection) = narrow(&fleet, "me", "-pubsub").await;
    fleet.noted(10, &[("third", 310)]).await;
    let notes = fleet.notes().await;
    // It was heard before the right was withdrawn: it looks as seldom as where nothing is to be expected.
    let reply = judge.sweep(Aim::Watch, terms(Some(1))).await.expect("looked");
    assert_eq!((reply.swept, reply.next_in, reply.deaths.declared.len()), (Swept::Done(Sweep::default()), INTERVAL, 0));
    assert_eq!((fleet.notes().await, refusals(&fleet).await), (notes, 1));
    let renewed = judge.renew(ReplicaState::Running, &about(), Some(1), &[]).await.expect("renewed");
    assert_eq!((renewed.hearing, refusals(&fleet).await), (Hearing::Refused, 1), "the look has noted it");
    for _ in 0..3 {
        judge.sweep(Aim::Watch, terms(Some(1))).await.expect("looked");
    }
    assert_eq!(refusals(&fleet).await, 1);
}

async fn nothing_is_taken_back_twice_where_a_right_is_missing_meanwhile(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    for name in ["a", "b"] {
        fleet.lives(name, record(400)).await;
    }
    // Each has crashed before.
    let held = fleet.holds("a", 1).await;
    fleet.stream.redis(&["HSET", ATTEMPTS, &held[0], "2 0 0", &format!("alone:{}", held[0]), "a"]).await;
    fleet.dies(&["a"]).await;
    assert_eq!(ids(&fleet.claims("me", Aim::Alone).await.0), held);
    assert_eq!((fleet.crashes(&held[0]).await, fleet.charges("a").await), (3, held.clone()));
    // It comes back.
    let (narrow_a, _connection) = narrow(&fleet, "a", "-hdel").await;
    for _ in 0..2 {
        assert!(narrow_a.leave(&about()).await.is_err());
    }
    assert_eq!((fleet.crashes(&held[0]).await, fleet.charges("a").await), (3, held.clone()));
    // Another dies: withdrawn by a judge without the right, and then by one that has it.
    let (judge, _connection) = narrow(&fleet, "me", "-hdel").await;
    fleet.holds("b", 1).await;
    fleet.unsubscribe("b").await;
    for _ in 0..2 {
        fleet.is("b", record(400)).await;
        fleet.noted(10, &[("b", 310)]).await;
        fleet.stream.redis(&["HDEL", super::SWEEP, "watch_due"]).await;
        assert!(judge.sweep(Aim::Watch, terms(Some(1))).await.is_err());
    }
    assert_eq!((fleet.crashes(&held[0]).await, fleet.charges("a").await), (3, held.clone()));
    fleet.lives("b", record(400)).await;
    assert_eq!(fleet.dies(&["b"]).await.withdrawn, 1);
    assert_eq!((fleet.crashes(&held[0]).await, fleet.charges("a").await.len()), (2, 0));
}
