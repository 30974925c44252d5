//! Handing entries over to replicas of other hosts, call by call.

use std::sync::Arc;

use startjobs::redis::{Connection, Subscription, SubscriptionState};
use startjobs::stream::Member;
use startjobs::stream::claim::{Aim, Swept};
use startjobs::stream::entry_id::EntryId;
use startjobs::stream::hand_over::{HandOverTerms, HandedOver, Order};
use startjobs::stream::presence::About;
use startjobs::stream::renew::{Renewal, ReplicaState, Stray};
use startjobs::stream::settle::Settled;

use super::{CLAIM_IDLE, GROUP, JOBS, MIRROR, Stream, about, answered, each_version, terms};
use crate::support::sweeps::by_silence;

const ATTEMPTS: &str = "runtime:start_jobs:attempts";
const SWEEP: &str = "runtime:start_jobs:sweep";
const REPLICAS: &str = "runtime:start_jobs:replicas";
const TERMS: HandOverTerms = HandOverTerms { claim_idle: CLAIM_IDLE, extra: 0 };

fn on(host: &str, slots: u64) -> About {
    About { engine_host: Some(host.to_owned()), serves: Some(true), slots: Some(slots), ..about() }
}

fn order(id: EntryId, host: &str) -> Order {
    Order { id, host: host.into(), dead_owner: None }
}

fn to(consumer: &str) -> HandedOver {
    HandedOver::To(consumer.to_owned())
}

async fn renew(member: &Member, about: &About) -> Vec<Stray> {
    member.renew(ReplicaState::Running, about, None, &[]).await.expect("renewed").strays
}

async fn comes(stream: &Stream, consumer: &str, about: &About) {
    renew(&stream.other(consumer), about).await;
}

async fn hand_over(stream: &Stream, ids: &[EntryId], host: &str) -> Vec<HandedOver> {
    let orders: Vec<Order> = ids.iter().map(|id| order(*id, host)).collect();
    stream.member.hand_over(&orders, TERMS).await.expect("answered")
}

/// So many new entries, delivered to `me`.
async fn entries(stream: &Stream, count: usize) -> Vec<EntryId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(stream.append("*").await);
    }
    stream.read().await;
    ids
}

async fn owners(stream: &Stream) -> Vec<String> {
    stream.pending().await.into_iter().map(|(_, owner, _)| owner).collect()
}

#[tokio::test]
async fn an_entry_goes_to_a_replica_of_its_host_and_nothing_else_changes() {
    each_version(async |stream| {
        comes(&stream, "me", &on("a", 4)).await;
        comes(&stream, "other", &on("b", 4)).await;
        // Texts of other replicas that only look like the host.
        let hostile = About { version: Some(r#"","engine_host":"b""#.to_owned()), ..on("x", 4) };
        comes(&stream, "a-hostile", &hostile).await;
        comes(&stream, "an-old-one", &about()).await;
        let ids = entries(&stream, 3).await;
        stream.member.settle(&[answered(ids[0])], terms(3, false)).await.expect("settled");
        let mirror = stream.redis(&["GET", MIRROR]).await.as_string();
        let dead = Some(Arc::from("dead one"));
        let orders = [Order { dead_owner: dead.clone(), ..order(ids[1], "b") }, order(ids[2], "c")];
        assert_eq!(
            stream.member.hand_over(&orders, TERMS).await.expect("answered"),
            [to("other"), HandedOver::Nowhere]
        );
        let mine = |id: EntryId, owner: &str| (id.to_string(), owner.to_owned(), 1);
        assert_eq!(stream.pending().await, [mine(ids[1], "other"), mine(ids[2], "me")]);
        assert_eq!(stream.redis(&["GET", MIRROR]).await.as_string(), mirror);
        // Its new owner is told once that no reply brings it.
        let other = stream.other("other");
        let stray = |was_handed, dead_owner| [Stray { id: ids[1], deliveries: 1, was_handed, dead_owner }];
        assert_eq!(renew(&other, &on("b", 4)).await, stray(true, dead));
        assert_eq!(renew(&other, &on("b", 4)).await, stray(false, None));
        // It is not ours any more, and that can be asked again.
        assert_eq!(hand_over(&stream, &ids[..2], "b").await, [HandedOver::Lost, HandedOver::Lost]);
        let renewed = stream.member.renew(ReplicaState::Running, &on("a", 4), None, &ids[1..]).await.expect("renewed");
        assert_eq!(renewed.entries, [(ids[1], Renewal::Other), (ids[2], Renewal::Mine)]);
        let settled = stream.member.settle(&[answered(ids[1])], terms(3, true)).await.expect("answered").settled;
        assert_eq!(settled, [Settled::Lost]);
        other.settle(&[answered(ids[1])], terms(3, true)).await.expect("settled");
        stream.member.settle(&[answered(ids[2])], terms(3, true)).await.expect("settled");
        assert_eq!(stream.redis(&["GET", MIRROR]).await.as_string(), Some(ids[2].to_string()));
        assert_eq!((stream.outcomes().await, stream.redis(&["EXISTS", ATTEMPTS]).await.as_i64()), (3, Some(0)));
    })
    .await;
}

#[tokio::test]
async fn of_several_replicas_the_one_with_least_to_do_gets_it_and_none_gets_more_than_it_may() {
    each_version(async |stream| {
        comes(&stream, "small", &on("b", 1)).await;
        comes(&stream, "large", &on("b", 3)).await;
        let ids = entries(&stream, 12).await;
        let large = || to("large");
        let small = || to("small");
        let first = hand_over(&stream, &ids[..4], "b").await;
        assert_eq!(first, [large(), small(), large(), large()]);
        // What is pending counts, also where the presence is older than that.
        assert_eq!(hand_over(&stream, &ids[4..6], "b").await, [large(), small()]);
        let rest = hand_over(&stream, &ids[6..], "b").await;
        assert_eq!(rest.iter().filter(|one| **one == HandedOver::Full).count(), 4, "{rest:?}");
        let more = HandOverTerms { extra: 1, ..TERMS };
        let orders: Vec<Order> = ids[8..].iter().map(|id| order(*id, "b")).collect();
        let more = stream.member.hand_over(&orders, more).await.expect("answered");
        assert_eq!(more.iter().filter(|one| **one == HandedOver::Full).count(), 2, "{more:?}");
    })
    .await;
}

#[tokio::test]
async fn a_replica_on_a_sick_host_is_given_one_job_at_a_time_and_only_where_no_other_takes_it() {
    each_version(async |stream| {
        let ids = entries(&stream, 6).await;
        let sick = About { serves: Some(false), sick: Some(true), ..on("b", 4) };
        comes(&stream, "sick", &sick).await;
        assert_eq!(hand_over(&stream, &ids[..2], "b").await, [to("sick"), HandedOver::Full]);
        assert_eq!(hand_over(&stream, &ids[1..2], "b").await, [HandedOver::Full]);
        comes(&stream, "well", &on("b", 1)).await;
        assert_eq!(hand_over(&stream, &ids[1..4], "b").await, [to("well"), to("well"), HandedOver::Full]);
        // A suspect is no job to try a sick host with.
        comes(&stream, "alone", &About { engine_host: Some("c".to_owned()), ..sick }).await;
        stream.redis(&["HSET", ATTEMPTS, &ids[4].to_string(), "2 0 0"]).await;
        assert_eq!(hand_over(&stream, &ids[4..], "c").await, [HandedOver::Nowhere, to("alone")]);
    })
    .await;
}

#[tokio::test]
async fn nothing_goes_to_a_replica_that_does_not_take_work() {
    each_version(async |stream| {
        let ids = entries(&stream, 1).await;
        let pauses = About { serves: Some(false), ..on("b", 4) };
        comes(&stream, "pauses", &pauses).await;
        stream.other("drains").renew(ReplicaState::Draining, &on("b", 4), None, &[]).await.expect("renewed");
        comes(&stream, "leaves", &on("b", 4)).await;
        stream.other("leaves").leave(&on("b", 4)).await.expect("left");
        comes(&stream, "silent", &on("b", 4)).await;
        comes(&stream, "dead", &on("b", 4)).await;
        let now = stream.member.group().now_ms().await.expect("a time");
        for (name, seen, state) in [("silent", now - 5_001, "running"), ("dead", now, "dead")] {
            let json = on("b", 4);
            let json = serde_json::to_string(&json).expect("JSON");
            stream.redis(&["HSET", REPLICAS, name, &format!("{seen} {state} {json}")]).await;
        }
        // Not to itself either.
        comes(&stream, "me", &on("b", 4)).await;
        assert_eq!(hand_over(&stream, &ids, "b").await, [HandedOver::Nowhere]);
        assert_eq!(owners(&stream).await, ["me"]);
        // One that was declared dead hands over nothing: what it had is claimed.
        comes(&stream, "there", &on("b", 4)).await;
        let record = stream.redis(&["HGET", REPLICAS, "me"]).await.as_string().expect("a record");
        stream.redis(&["HSET", REPLICAS, "me", &record.replace(" running ", " dead ")]).await;
        assert_eq!(hand_over(&stream, &ids, "b").await, [HandedOver::Lost]);
        assert_eq!(owners(&stream).await, ["me"]);
    })
    .await;
}

#[tokio::test]
async fn an_entry_without_payload_stays_and_one_of_another_is_not_touched() {
    each_version(async |stream| {
        comes(&stream, "there", &on("b", 4)).await;
        let ids = entries(&stream, 2).await;
        stream.redis(&["XDEL", JOBS, &ids[0].to_string()]).await;
        stream.redis(&["XCLAIM", JOBS, GROUP, "you", "0", &ids[1].to_string(), "JUSTID"]).await;
        let unknown = "1-1".parse().expect("an id");
        let all = [ids[0], ids[1], unknown];
        assert_eq!(hand_over(&stream, &all, "b").await, [HandedOver::Trimmed, HandedOver::Lost, HandedOver::Lost]);
        assert_eq!(owners(&stream).await, ["me", "you"]);
        assert_eq!(stream.redis(&["EXISTS", ATTEMPTS]).await.as_i64(), Some(0));
    })
    .await;
}

#[tokio::test]
async fn an_entry_goes_back_and_forth_eight_times_and_then_slowly() {
    each_version(async |stream| {
        comes(&stream, "me", &on("a", 4)).await;
        comes(&stream, "other", &on("b", 4)).await;
        let id = entries(&stream, 1).await[0];
        let (other, handed) = (stream.other("other"), format!("handed:{id}"));
        for times in 0..8 {
            let (giver, host) = if times % 2 == 0 { (&stream.member, "b") } else { (&other, "a") };
            let answer = giver.hand_over(&[order(id, host)], TERMS).await.expect("answered");
            assert!(matches!(answer[..], [HandedOver::To(_)]), "{times}: {answer:?}");
        }
        assert_eq!(hand_over(&stream, &[id], "b").await, [HandedOver::TooOften]);
        assert_eq!(owners(&stream).await, ["me"]);
        // Ten seconds later, and after the server's clock went back, once.
        let now = stream.member.group().now_ms().await.expect("a time");
        for ms in [now - 10_001, now + 3_600_000] {
            stream.redis(&["HSET", ATTEMPTS, &handed, &format!("8 {ms} 1\n\n")]).await;
            assert_eq!(hand_over(&stream, &[id], "b").await, [to("other")]);
            let back = other.hand_over(&[order(id, "a")], TERMS).await.expect("answered");
            assert_eq!(back, [HandedOver::TooOften]);
            stream.redis(&["XCLAIM", JOBS, GROUP, "me", "0", &id.to_string(), "JUSTID"]).await;
        }
        // What is no such note is written anew.
        stream.redis(&["HSET", ATTEMPTS, &handed, "nonsense"]).await;
        assert_eq!(hand_over(&stream, &[id], "b").await, [to("other")]);
        other.settle(&[answered(id)], terms(1, true)).await.expect("settled");
        assert_eq!(stream.redis(&["EXISTS", ATTEMPTS]).await.as_i64(), Some(0));
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_was_claimed_since_is_none_that_was_handed_over() {
    each_version(async |stream| {
        comes(&stream, "me", &on("a", 4)).await;
        comes(&stream, "other", &on("b", 4)).await;
        let id = entries(&stream, 1).await[0];
        assert_eq!(hand_over(&stream, &[id], "b").await, [to("other")]);
        // The new owner is silent, another claims it; and loses it to the new owner again, whose sweep's reply is on its way.
        stream.other("other").hand_back(&[id]).await.expect("given back");
        for consumer in ["me", "other"] {
            stream.redis(&["HSET", SWEEP, "due", "0", "cursor", "-"]).await;
            let swept = stream.other(consumer).sweep(Aim::Take, by_silence(CLAIM_IDLE, CLAIM_IDLE, 64, true)).await;
            let Swept::Done(sweep) = swept.expect("swept").swept else { panic!() };
            assert_eq!(sweep.claimed.len(), 1);
            if consumer == "me" {
                stream.member.hand_back(&[id]).await.expect("given back");
            }
        }
        let strays = renew(&stream.other("other"), &on("b", 4)).await;
        assert_eq!(strays, [Stray { id, deliveries: 3, was_handed: false, dead_owner: None }]);
    })
    .await;
}

#[tokio::test]
async fn a_suspect_is_given_back_and_reserved_for_a_replica_of_its_host() {
    each_version(async |stream| {
        comes(&stream, "me", &on("a", 4)).await;
        comes(&stream, "other", &on("b", 4)).await;
        let id = entries(&stream, 1).await[0];
        stream.redis(&["HSET", ATTEMPTS, &id.to_string(), "2 0 0", &format!("alone:{id}"), "me"]).await;
        assert_eq!(hand_over(&stream, &[id], "b").await, [to("other")]);
        assert_eq!(renew(&stream.other("other"), &on("b", 4)).await, [], "it is claimed, and nothing to find");
        let sweep = async |consumer: &str, aim, holds_nothing| {
            stream.redis(&["HSET", SWEEP, "due", "0", "cursor", "-"]).await;
            let terms = by_silence(CLAIM_IDLE, CLAIM_IDLE, 64, holds_nothing);
            stream.other(consumer).sweep(aim, terms).await.expect("swept").swept
        };
        // The first by name, which is the keeper, and empty: still it is not for it.
        for aim in [Aim::Take, Aim::Alone] {
            let Swept::Done(done) = sweep("me", aim, true).await else { panic!("{aim:?}") };
            assert_eq!(done.claimed.len(), 0, "{aim:?}");
        }
        assert_eq!(stream.redis(&["EXISTS", SWEEP]).await.as_i64(), Some(1));
        assert!(matches!(sweep("other", Aim::Take, false).await, Swept::Suspects));
        let Swept::Done(done) = sweep("other", Aim::Alone, true).await else { panic!() };
        assert_eq!(done.claimed.iter().map(|one| (one.id, one.deliveries)).collect::<Vec<_>>(), [(id, 2)]);
        let alone = stream.redis(&["HGET", ATTEMPTS, &format!("alone:{id}")]).await.as_string();
        assert_eq!(alone.as_deref(), Some("other"));
        // Back, and handed over again: where its replica is gone any other may claim it.
        stream.redis(&["XCLAIM", JOBS, GROUP, "me", "0", &id.to_string(), "JUSTID"]).await;
        assert_eq!(hand_over(&stream, &[id], "b").await, [to("other")]);
        stream.other("other").leave(&on("b", 4)).await.expect("left");
        let Swept::Done(done) = sweep("me", Aim::Alone, true).await else { panic!() };
        assert_eq!(done.claimed.len(), 1);
    })
    .await;
}

async fn subscribed(connection: &Stream, channel: &str) -> Subscription {
    let subscription = Subscription::keep(&connection.settings.redis, "there", channel).expect("valid settings");
    let mut changes = subscription.changes();
    while subscription.standing().state != SubscriptionState::Subscribed {
        changes.changed().await.expect("it is kept");
    }
    subscription
}

#[tokio::test]
async fn the_new_owner_is_told_and_has_the_entry_where_that_is_refused() {
    each_version(async |stream| {
        comes(&stream, "there", &on("b", 4)).await;
        let subscription = subscribed(&stream, &format!("{JOBS}:alive:there")).await;
        let mut messages = subscription.messages();
        let ids = entries(&stream, 3).await;
        assert_eq!(hand_over(&stream, &ids[..1], "b").await, [to("there")]);
        messages.changed().await.expect("it is told");
        // What is published does not matter, nor how much.
        let connection: &Connection = &stream.connection;
        for text in ["", "x", &"y".repeat(1_000_000)] {
            connection.raw(&["PUBLISH", &format!("{JOBS}:alive:there"), text]).await.expect("published");
            messages.changed().await.expect("it is told");
        }
        messages.mark_unchanged();
        for rights in [&["-publish"][..], &["resetchannels"]] {
            let narrow = stream.narrow("me", rights).await;
            let id = if rights[0] == "-publish" { ids[1] } else { ids[2] };
            let answer = narrow.hand_over(&[order(id, "b")], TERMS).await.expect("answered");
            assert_eq!(answer, [to("there")]);
        }
        assert!(!messages.has_changed().expect("it is kept"));
        let strays = renew(&stream.other("there"), &on("b", 4)).await;
        assert!(strays.len() == 3 && strays.iter().all(|stray| stray.was_handed), "{strays:?}");
    })
    .await;
}

#[tokio::test]
async fn nothing_is_written_where_a_right_is_missing_or_a_key_is_of_another_type() {
    each_version(async |stream| {
        comes(&stream, "there", &on("b", 4)).await;
        let id = entries(&stream, 1).await[0];
        for rights in [["-xclaim"], ["-hset"], ["-hgetall"]] {
            let narrow = stream.narrow("me", &rights).await;
            narrow.hand_over(&[order(id, "b")], TERMS).await.expect_err("refused");
            assert_eq!(
                (owners(&stream).await, stream.redis(&["EXISTS", ATTEMPTS]).await.as_i64()),
                (vec!["me".to_owned()], Some(0))
            );
        }
        // Without this one it goes by what the presences say.
        let narrow = stream.narrow("me", &["-xinfo", "+xinfo|groups", "+xinfo|stream"]).await;
        stream.redis(&["SET", ATTEMPTS, "x"]).await;
        narrow.hand_over(&[order(id, "b")], TERMS).await.expect_err("refused");
        stream.redis(&["DEL", ATTEMPTS]).await;
        assert_eq!(narrow.hand_over(&[order(id, "b")], TERMS).await.expect("answered"), [to("there")]);
    })
    .await;
}
