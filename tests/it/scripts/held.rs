//! Renewal, hand-back and what is found: without a payload being copied.

use startjobs::stream::claim::{Aim, Swept};
use startjobs::stream::renew::{Renewal, ReplicaState, Stray};

use super::{CLAIM_IDLE, GROUP, JOBS, Stream, about, answered, each_version, terms};
use crate::support::sweeps::by_silence;

#[tokio::test]
async fn what_is_held_is_renewed_claimed_and_given_back_without_its_payload_being_copied() {
    each_version(async |stream| {
        let mut ids = Vec::new();
        for _ in 0..9 {
            ids.push(stream.append("*").await);
        }
        stream.read_as("dead").await;
        let (kept, gone) = (&ids[1..], ids[0]);
        stream.redis(&["XDEL", JOBS, &gone.to_string()]).await;
        stream.redis(&["CONFIG", "RESETSTAT"]).await;
        stream.member.renew(ReplicaState::Running, &about(), None, &[]).await.expect("renewed");
        let dead = stream.other("dead");
        let renewed = dead.renew(ReplicaState::Running, &about(), None, &ids).await.expect("renewed");
        let words: Vec<Renewal> = renewed.entries.iter().map(|(_, word)| *word).collect();
        assert_eq!((words[0], &words[1..]), (Renewal::Trimmed, &[Renewal::Mine; 8][..]));
        assert_eq!(dead.hand_back(&ids).await.expect("given back"), 8);
        let swept =
            stream.member.sweep(Aim::Take, by_silence(CLAIM_IDLE, CLAIM_IDLE, 64, true)).await.expect("swept").swept;
        let Swept::Done(sweep) = swept else { panic!("{swept:?}") };
        assert_eq!(sweep.claimed.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), kept);
        assert!(sweep.claimed.iter().all(|delivery| delivery.fields.is_none() && delivery.deliveries == 2));
        assert_eq!((stream.calls("xrange").await, stream.calls("xrevrange").await), (0, 0));
        // Nothing of it stays behind.
        let groups: Vec<Vec<startjobs::redis::Value>> =
            stream.redis(&["XINFO", "GROUPS", JOBS]).await.convert().expect("groups");
        assert_eq!(groups.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn without_the_right_to_probe_the_payloads_are_copied_after_all() {
    let stream = Stream::new().await;
    let ids = [stream.append("*").await, stream.append("*").await];
    stream.read().await;
    stream.redis(&["XDEL", JOBS, &ids[0].to_string()]).await;
    for rights in [&["-xgroup|destroy"][..], &["-xgroup|create"], &["-xgroup"]] {
        let narrow = stream.narrow("me", rights).await;
        let renewed = narrow.renew(ReplicaState::Running, &about(), None, &ids).await.expect("renewed");
        assert_eq!(renewed.entries, [(ids[0], Renewal::Trimmed), (ids[1], Renewal::Mine)]);
    }
}

#[tokio::test]
async fn a_renewal_tells_what_is_pending_and_not_held() {
    each_version(async |stream| {
        let ids = [stream.append("*").await, stream.append("*").await, stream.append("*").await];
        stream.read().await;
        let renewed = stream.member.renew(ReplicaState::Running, &about(), None, &ids[1..2]).await.expect("renewed");
        assert_eq!(renewed.entries, [(ids[1], Renewal::Mine)]);
        let stray = |id| Stray { id, deliveries: 1, was_handed: false, dead_owner: None };
        assert_eq!(renewed.strays, [stray(ids[0]), stray(ids[2])]);
        // Those of another are not ours to find, and what is settled is nothing to find.
        stream.member.settle(&[answered(ids[0])], terms(3, false)).await.expect("settled");
        assert_eq!(
            stream.other("you").renew(ReplicaState::Running, &about(), None, &[]).await.expect("renewed").strays,
            []
        );
        let renewed = stream.member.renew(ReplicaState::Running, &about(), None, &[]).await.expect("renewed");
        assert_eq!(renewed.strays, [stray(ids[1]), stray(ids[2])]);
    })
    .await;
}

#[tokio::test]
async fn a_renewal_puts_back_what_fell_out_and_leaves_what_is_settled_or_anothers() {
    each_version(async |stream| {
        let ids = [stream.append("*").await, stream.append("*").await, stream.append("*").await];
        stream.read().await;
        stream.member.settle(&[answered(ids[0])], terms(3, false)).await.expect("settled");
        stream.redis(&["XGROUP", "DELCONSUMER", JOBS, GROUP, "me"]).await;
        stream.redis(&["XCLAIM", JOBS, GROUP, "you", "0", &ids[1].to_string(), "FORCE", "JUSTID"]).await;
        let renewed = stream.member.renew(ReplicaState::Running, &about(), None, &ids).await.expect("renewed");
        let expected = [Renewal::Settled, Renewal::Other, Renewal::Restored];
        assert_eq!(renewed.entries, ids.into_iter().zip(expected).collect::<Vec<_>>());
        let owners: Vec<String> = stream.pending().await.into_iter().map(|(_, owner, _)| owner).collect();
        assert_eq!(owners, ["you", "me"]);
    })
    .await;
}

#[tokio::test]
async fn what_was_given_back_is_no_stray_and_is_claimed_by_its_own_replica_too() {
    each_version(async |stream| {
        let id = stream.append("*").await;
        stream.read().await;
        stream.member.hand_back(&[id]).await.expect("given back");
        let renewed = stream.member.renew(ReplicaState::Running, &about(), None, &[]).await.expect("renewed");
        assert_eq!(renewed.strays, []);
        let swept =
            stream.member.sweep(Aim::Take, by_silence(CLAIM_IDLE, CLAIM_IDLE, 64, true)).await.expect("swept").swept;
        let Swept::Done(sweep) = swept else { panic!("{swept:?}") };
        assert_eq!(sweep.claimed.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), [id]);
    })
    .await;
}
