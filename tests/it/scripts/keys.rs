//! Every key that a script of the group touches stands among its KEYS, also where the ids are of many hours and each hour
//! is a key of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use startjobs::contract::start_job::FIELDS;
use startjobs::redis::{Subscription, SubscriptionState};
use startjobs::stream::Group;
use startjobs::stream::adopt::AdoptionState;
use startjobs::stream::claim::{Aim, Sweep, SweepTerms, Swept, Watch as Watching};
use startjobs::stream::dead_letters::{DeadLetters, Order, Requeued};
use startjobs::stream::entry_id::EntryId;
use startjobs::stream::fetch::{Fetcher, Payload, Want};
use startjobs::stream::hand_over::{HandOverTerms, HandedOver, Order as HandOver};
use startjobs::stream::presence::About;
use startjobs::stream::renew::{Hearing, Renewal, ReplicaState};
use startjobs::stream::settle::{Ending, Settled};

use super::{CLAIM_IDLE, GROUP, HOUR, JOBS, MIRROR, Stream, about, answered, connect, each_version, malformed, terms};
use crate::declared_keys::Watch;
use crate::support::sweeps::by_silence;

const INTERVAL: Duration = Duration::from_millis(1);
const HOUR_MS: u64 = 3_600_000;
const ATTEMPTS: &str = "runtime:start_jobs:attempts";
const SWEEP: &str = "runtime:start_jobs:sweep";
const REPLICAS: &str = "runtime:start_jobs:replicas";

/// One entry for each of these hours before now, delivered to this consumer. The hours come down from call to call.
async fn of_hours(stream: &Stream, hours: std::ops::Range<u64>, consumer: &str) -> Vec<EntryId> {
    let now = stream.member.group().now_ms().await.expect("a time");
    let mut ids = Vec::new();
    for hour in hours.rev() {
        ids.push(stream.append(&format!("{}-0", now - hour * HOUR_MS)).await);
    }
    stream.read_as(consumer).await;
    ids
}

async fn sweep(stream: &Stream, consumer: &str, aim: Aim) -> Sweep {
    stream.redis(&["HSET", SWEEP, "due", "0", "cursor", "-"]).await;
    let swept =
        stream.other(consumer).sweep(aim, by_silence(CLAIM_IDLE, INTERVAL, 100, true)).await.expect("swept").swept;
    let Swept::Done(sweep) = swept else { panic!("{aim:?}: {swept:?}") };
    sweep
}

/// The group is lost, and made again; the original worker has answered entries of several hours.
async fn adopts(stream: &Stream) {
    let ids = of_hours(stream, 20..24, "gone").await;
    stream.redis(&["SET", MIRROR, &ids[2].to_string()]).await;
    let adoption = stream.member.adopt(CLAIM_IDLE).await.expect("adopted");
    assert_eq!((adoption.state, adoption.acknowledged), (AdoptionState::Adopted, 3));
    assert_eq!(stream.member.adopt(CLAIM_IDLE).await.expect("adopted").state, AdoptionState::Existed);
    stream.redis(&["XGROUP", "DESTROY", JOBS, GROUP]).await;
    assert_eq!(stream.member.adopt(CLAIM_IDLE).await.expect("adopted").state, AdoptionState::Created);
    stream.read_as("me").await;
    assert_eq!(stream.pending().await.len(), 1);
}

/// Entries of several hours that fell out, whose payload is gone, that are settled, or anothers; and what is known of them.
async fn renews(stream: &Stream) {
    let ids = of_hours(stream, 14..18, "me").await;
    let settled = stream.member.settle(&[answered(ids[0])], terms(10, true)).await.expect("settled").settled;
    assert_eq!(settled, [Settled::Done]);
    stream.redis(&["XACK", JOBS, GROUP, &ids[1].to_string()]).await;
    stream.redis(&["XDEL", JOBS, &ids[2].to_string()]).await;
    let renewed = stream.member.renew(ReplicaState::Running, &about(), None, &ids).await.expect("renewed");
    let expected = [Renewal::Settled, Renewal::Restored, Renewal::Trimmed, Renewal::Mine];
    assert_eq!(renewed.entries, ids.iter().copied().zip(expected).collect::<Vec<_>>());
    assert_eq!(stream.member.record_failure(ids[3], HOUR).await.expect("counted").map(|past| past.failures), Some(1));
    assert_eq!(stream.member.withdraw_failures(&[(ids[3], 0), (ids[0], 1)]).await.expect("withdrawn"), 0);
    let past = stream.member.group().history(&ids).await.expect("asked");
    assert_eq!(past.iter().map(|past| (past.is_settled, past.failures)).collect::<Vec<_>>()[0], (true, 0));
    assert_eq!(past[3].failures, 1);
}

/// Each way in which an entry can end.
async fn settles(stream: &Stream) {
    let ids = of_hours(stream, 9..14, "me").await;
    let (Ending::Outcome(result), Ending::Dead(letter)) = (answered(ids[2]).1, malformed(ids[2]).1) else { panic!() };
    let batches = [
        (answered(ids[0]), Settled::Done),
        (malformed(ids[1]), Settled::Done),
        ((ids[2], Ending::Both(result, letter)), Settled::Done),
        ((ids[0], Ending::Known), Settled::Duplicate),
        (answered("9999999999999-0".parse().expect("an id")), Settled::Unknown),
    ];
    for (ending, expected) in batches {
        let reply = stream.member.settle(&[ending], terms(10, true)).await.expect("settled");
        assert_eq!(reply.settled, [expected]);
    }
}

/// An owner gives back what it holds, another leaves; what they had is claimed, lost, or runs alone.
async fn claims(stream: &Stream) {
    for consumer in ["me", "you", "third"] {
        stream.other(consumer).renew(ReplicaState::Running, &about(), None, &[]).await.expect("renewed");
    }
    let ids = of_hours(stream, 4..9, "you").await;
    for id in &ids[..2] {
        stream.redis(&["XDEL", JOBS, &id.to_string()]).await;
    }
    // An entry without payload is not given back: it lies until its owner is dead.
    for id in &ids[..2] {
        stream.redis(&["XCLAIM", JOBS, GROUP, "nobody", "0", &id.to_string(), "JUSTID"]).await;
    }
    stream.redis(&["HSET", ATTEMPTS, &ids[2].to_string(), "2 0 0", &ids[3].to_string(), "1 0 0"]).await;
    assert_eq!(stream.other("you").hand_back(&ids[3..4]).await.expect("given back"), 1);
    assert_eq!(stream.other("you").leave(&about()).await.expect("left").entries, 3);
    let lone = sweep(stream, "me", Aim::Take).await;
    assert_eq!(lone.claimed.len(), 2);
    assert_eq!(sweep(stream, "third", Aim::Alone).await.claimed.len(), 1);
}

/// An entry and a suspect are handed over, told of, and settled by their new owner.
async fn hands_over(stream: &Stream) {
    let (there, about) = (stream.other("there"), About { engine_host: Some("b".to_owned()), ..about() });
    there.renew(ReplicaState::Running, &about, None, &[]).await.expect("renewed");
    let first = of_hours(stream, 4..5, "me").await[0];
    let ids = [first, stream.append(&format!("{first}1")).await];
    stream.read().await;
    stream.redis(&["HSET", ATTEMPTS, &ids[1].to_string(), "2 0 0"]).await;
    let orders = ids.map(|id| HandOver { id, host: "b".into(), dead_owner: None });
    let terms_of = HandOverTerms { claim_idle: CLAIM_IDLE, extra: 9 };
    let there_has_it = HandedOver::To("there".to_owned());
    let answers = stream.member.hand_over(&orders, terms_of).await.expect("handed over");
    assert_eq!(answers, [there_has_it.clone(), there_has_it]);
    let strays = there.renew(ReplicaState::Running, &about, None, &[]).await.expect("renewed").strays;
    assert_eq!(strays.iter().map(|stray| stray.id).collect::<Vec<_>>(), ids[..1]);
    for id in ids {
        there.settle(&[answered(id)], terms(10, true)).await.expect("settled");
    }
    there.leave(&about).await.expect("left");
}

async fn subscribed(stream: &Stream, name: &str) -> Subscription {
    let channel = format!("{JOBS}:alive:{name}");
    let subscription = Subscription::keep(&stream.settings.redis, name, &channel).expect("valid settings");
    let mut changes = subscription.changes();
    while subscription.standing().state != SubscriptionState::Subscribed {
        changes.changed().await.expect("it is kept");
    }
    subscription
}

/// Two are declared dead, one after the other: what they held is claimed and counted, and the count is withdrawn. One of them
/// comes back.
async fn watches(stream: &Stream) {
    let about = About { claim_idle_ms: u64::try_from(HOUR.as_millis()).ok(), ..About::default() };
    let subscription = subscribed(stream, "me").await;
    let generation = Some(subscription.standing().generation);
    let renewed = stream.member.renew(ReplicaState::Running, &about, generation, &[]).await.expect("renewed");
    assert_eq!(renewed.hearing, Hearing::Heard);
    let record = stream.redis(&["HGET", REPLICAS, "me"]).await.as_string().expect("a presence");
    let (_, said) = record.split_once(' ').expect("a time");
    let minute_ago = stream.member.group().now_ms().await.expect("a time") - 60_000;
    for name in ["first", "second"] {
        stream.redis(&["HSET", REPLICAS, name, &format!("{minute_ago} {said}")]).await;
    }
    // The second lives while the first dies.
    let mut second = Some(subscribed(stream, "second").await);
    let watch = Some(Watching { grace: Duration::from_secs(10), generation });
    let terms = SweepTerms { claim_idle: HOUR, watch, ..by_silence(HOUR, INTERVAL, 100, true) };
    for (number, name) in (0..).zip(["first", "second"]) {
        of_hours(stream, 19 - number..20 - number, name).await;
        if name == "second" {
            drop(second.take());
        }
        let deaths = loop {
            let now = stream.member.group().now_ms().await.expect("a time");
            stream.redis(&["HSET", SWEEP, "watch_due", "0", "noted", &format!("{now} {name}={}", now - 20_000)]).await;
            let deaths = stream.member.sweep(Aim::Watch, terms).await.expect("looked").deaths;
            if !deaths.declared.is_empty() {
                break deaths;
            }
        };
        assert_eq!((deaths.declared, deaths.withdrawn), (vec![name.to_owned()], number));
        let Swept::Done(sweep) = stream.member.sweep(Aim::Take, terms).await.expect("swept").swept else { panic!() };
        assert_eq!((sweep.claimed.len(), sweep.crashed), (1, 1 - number));
    }
    let second = stream.other("second");
    let renewed = second.renew(ReplicaState::Running, &about, generation, &[]).await.expect("answered");
    assert_eq!(renewed.hearing, Hearing::DeclaredDead);
    second.leave(&about).await.expect("left");
}

/// Orphans of several hours, old buckets of the ledger, one that is none, and consumers that went.
async fn tidies(stream: &Stream) -> (Vec<String>, Vec<EntryId>) {
    let ids = of_hours(stream, 1..4, "you").await;
    stream.redis(&["XGROUP", "DELCONSUMER", JOBS, GROUP, "you"]).await;
    let old: Vec<String> = (1..=3).map(|hour| format!("{JOBS}:ledger:{hour}")).collect();
    for bucket in &old {
        stream.redis(&["SADD", bucket, "1-1"]).await;
        stream.redis(&["ZADD", &format!("{JOBS}:ledgers"), "1", bucket]).await;
    }
    stream.redis(&["ZADD", &format!("{JOBS}:ledgers"), "1", "somebody:else"]).await;
    stream.redis(&["XGROUP", "CREATECONSUMER", JOBS, GROUP, "idle"]).await;
    let mut settings = stream.settings.stream.clone();
    (settings.trim_jobs, settings.results_retention) = (true, Some(HOUR));
    let member = Group::new(&settings, Arc::clone(&stream.connection)).member("me");
    let (mut orphans, mut consumers, mut buckets) = (Vec::new(), 0, 0);
    for _ in 0..3 {
        stream.redis(&["HDEL", SWEEP, "janitor_due"]).await;
        let tidied = member.tidy(CLAIM_IDLE, CLAIM_IDLE, Duration::ZERO).await.expect("tidied").expect("it was due");
        orphans.extend(tidied.orphans);
        consumers += tidied.consumers;
        buckets += tidied.buckets;
    }
    let expected: Vec<String> = ids.iter().map(ToString::to_string).collect();
    assert!(expected.iter().all(|id| orphans.contains(id)), "{orphans:?}");
    assert!(consumers > 0, "no consumer was removed");
    assert_eq!(buckets, 4);
    assert_eq!(stream.redis(&["EXISTS", &old[0], &old[1], &old[2]]).await.as_i64(), Some(0));
    (old, ids)
}

/// What is read by a script because it is too large, and dead letters that people put back or remove.
async fn the_rest(stream: &Stream, id: EntryId) {
    let fetcher = Fetcher::new(&stream.settings.redis, &stream.member, CLAIM_IDLE, (&FIELDS, 1024));
    let fetched = fetcher.fetch(&[(id, Want::JobFields)]).await;
    assert!(matches!(fetched.payloads[..], [Payload::JobFields(_)]), "{fetched:?}");
    let connection = connect(&stream.settings).await;
    let connection = Arc::into_inner(connection).expect("it is ours alone");
    let letters = DeadLetters::new(connection, &stream.settings.stream);
    let page = letters.page(&startjobs::stream::dead_letters::ALL_IDS, Order::OldestFirst).await.expect("a page");
    let requeued = letters.requeue(&[page[0].id], "op").await.expect("asked");
    assert!(matches!(requeued[..], [Requeued::Empty | Requeued::As(_)]), "{requeued:?}");
    assert_eq!(letters.remove(&[page[1].id]).await.expect("removed"), [true]);
}

#[tokio::test]
async fn the_scripts_of_the_group_name_every_key_they_touch() {
    each_version(async |stream| {
        let watch = Watch::begin(stream.server.port());
        adopts(&stream).await;
        watches(&stream).await;
        renews(&stream).await;
        settles(&stream).await;
        claims(&stream).await;
        hands_over(&stream).await;
        let (old, ids) = tidies(&stream).await;
        the_rest(&stream, ids[0]).await;
        let seen = watch.end(&stream.connection).await;
        assert_eq!(seen.undeclared, BTreeSet::new());
        assert!(
            seen.commands.iter().any(|words| words[0].eq_ignore_ascii_case("pubsub")),
            "no subscription was asked for"
        );
        let mut expected: BTreeSet<String> = stream.member.group().keys().listed().into_iter().collect();
        expected.extend(old);
        expected.extend(ids.iter().map(|id| stream.member.group().keys().ledger_bucket(id.ledger_hour())));
        let missed: Vec<&String> = expected.difference(&seen.touched).collect();
        assert!(missed.is_empty(), "nothing touched {missed:?}");
    })
    .await;
}
