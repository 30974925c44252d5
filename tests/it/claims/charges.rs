//! What a death that was noticed at once counts, and when that is withdrawn.

use startjobs::stream::claim::{Aim, Sweep, SweepTerms, Swept};

use super::listeners::{CRASH_BUDGET, Fleet, dead, record, terms};
use super::{ATTEMPTS, JOBS, Stream, ids, on_every_server};

on_every_server! {
    a_death_counts_one_crash_for_each_entry_and_they_are_listed
    the_crash_that_would_condemn_waits_for_claim_idle_of_silence
    what_many_died_with_at_once_is_not_counted
    a_count_is_withdrawn_when_another_death_is_noticed_later
    a_count_is_withdrawn_when_another_turns_out_to_be_silent
    a_job_that_kills_one_process_after_another_is_counted_every_time
}

/// A fleet of `me` and these, which have been there for long and hold nothing yet.
async fn fleet_of(stream: Stream, names: &[&str]) -> Fleet {
    let fleet = Fleet::new(stream).await;
    for name in names {
        fleet.lives(name, record(400)).await;
    }
    fleet
}

/// What this one claims of what is there, so many entries at most.
async fn claims_of(fleet: &Fleet, name: &str, want: usize) -> Sweep {
    fleet.stream.due().await;
    let reply = fleet.call(name, Aim::Take, SweepTerms { want, ..terms(Some(1)) }).await;
    let Swept::Done(sweep) = reply.swept else { panic!("{reply:?}") };
    sweep
}

async fn a_death_counts_one_crash_for_each_entry_and_they_are_listed(stream: Stream) {
    let fleet = fleet_of(stream, &["other", "third", "fourth"]).await;
    let held = fleet.holds("other", 3).await;
    fleet.stream.redis(&["HSET", ATTEMPTS, &held[1], "1 2 3"]).await;
    assert_eq!(fleet.dies(&["other"]).await.withdrawn, 0);
    let first = claims_of(&fleet, "me", 1).await;
    assert_eq!((ids(&first), first.crashed, first.claimed[0].crashes), (held[..1].to_vec(), 1, 1));
    assert_eq!(fleet.charges("other").await, held[..1]);
    // The second makes a suspect, which is counted when a replica takes it alone.
    let rest = claims_of(&fleet, "me", 9).await;
    assert_eq!((ids(&rest), rest.crashed), (held[2..].to_vec(), 1));
    assert_eq!(fleet.charges("other").await, [held[0].clone(), held[2].clone()]);
    let (alone, _) = fleet.claims("me", Aim::Alone).await;
    assert_eq!((ids(&alone), alone.crashed), (held[1..2].to_vec(), 1));
    assert_eq!(fleet.charges("other").await, [held[0].clone(), held[2].clone(), held[1].clone()]);
    let attempts = fleet.stream.redis(&["HGET", ATTEMPTS, &held[1]]).await.as_string();
    assert_eq!(attempts.as_deref(), Some("2 2 3"));
}

async fn the_crash_that_would_condemn_waits_for_claim_idle_of_silence(stream: Stream) {
    let fleet = fleet_of(stream, &["other", "third", "fourth"]).await;
    let held = fleet.holds("other", 2).await;
    // One may still be counted, the other would be condemned by it.
    for (id, crashes) in [(&held[0], CRASH_BUDGET - 1), (&held[1], CRASH_BUDGET)] {
        let alone = format!("alone:{id}");
        fleet.stream.redis(&["HSET", ATTEMPTS, id, &format!("{crashes} 0 0"), &alone, "other"]).await;
    }
    fleet.dies(&["other"]).await;
    let (alone, _) = fleet.claims("me", Aim::Alone).await;
    assert_eq!((ids(&alone), alone.crashed), (held[..1].to_vec(), 1));
    for _ in 0..2 {
        let (alone, _) = fleet.claims("me", Aim::Alone).await;
        assert_eq!((ids(&alone).len(), alone.crashed), (0, 0));
    }
    assert_eq!((fleet.owner(&held[1]).await.as_str(), fleet.crashes(&held[1]).await), ("other", CRASH_BUDGET));
    fleet.is("other", dead(1_010)).await;
    let (alone, deaths) = fleet.claims("me", Aim::Alone).await;
    assert_eq!((ids(&alone), alone.crashed, deaths.silent), (held[1..].to_vec(), 1, 0), "it is known to be dead");
    assert_eq!(fleet.crashes(&held[1]).await, CRASH_BUDGET + 1);
    assert_eq!(fleet.charges("other").await, held[..1], "a silent one does not come back");
    // With no crash allowed at all, nor an ordinary entry.
    let held = fleet.holds("third", 1).await;
    fleet.dies(&["third"]).await;
    fleet.stream.due().await;
    let reply = fleet.call("me", Aim::Take, SweepTerms { crash_budget: 0, ..terms(Some(1)) }).await;
    let Swept::Done(sweep) = reply.swept else { panic!("{reply:?}") };
    assert_eq!(sweep.claimed.len(), 0);
    assert_eq!(ids(&claims_of(&fleet, "me", 9).await), held);
}

async fn what_many_died_with_at_once_is_not_counted(stream: Stream) {
    let fleet = fleet_of(stream, &["a", "b"]).await;
    let held = [fleet.holds("a", 1).await, fleet.holds("b", 1).await].concat();
    assert_eq!(fleet.dies(&["a", "b"]).await.withdrawn, 0);
    let sweep = claims_of(&fleet, "me", 9).await;
    assert_eq!((sweep.claimed.len(), sweep.crashed), (2, 0));
    for (owner, id) in ["a", "b"].iter().zip(&held) {
        assert_eq!((fleet.crashes(id).await, fleet.excuses(id).await), (0, 1), "{owner}");
        assert_eq!(fleet.charges(owner).await.len(), 0, "{owner}");
    }
}

/// `a` has died and `me` has claimed what it held: this.
async fn charged(fleet: &Fleet, entries: usize) -> Vec<String> {
    let held = fleet.holds("a", entries).await;
    fleet.dies(&["a"]).await;
    let sweep = claims_of(fleet, "me", 9).await;
    assert_eq!((ids(&sweep), sweep.crashed), (held.clone(), u64::try_from(entries).expect("few")));
    assert_eq!(fleet.charges("a").await, held);
    held
}

async fn a_count_is_withdrawn_when_another_death_is_noticed_later(stream: Stream) {
    let fleet = fleet_of(stream, &["a", "b"]).await;
    let held = charged(&fleet, 3).await;
    // One has been excused so often that it stays counted, one is settled.
    fleet.stream.redis(&["HSET", ATTEMPTS, &format!("excused:{}", held[1]), "10"]).await;
    fleet.stream.redis(&["XACK", JOBS, super::GROUP, &held[2]]).await;
    let other = fleet.holds("b", 1).await;
    assert_eq!(fleet.dies(&["b"]).await.withdrawn, 1);
    assert_eq!((fleet.crashes(&held[0]).await, fleet.excuses(&held[0]).await), (0, 1));
    assert_eq!((fleet.crashes(&held[1]).await, fleet.excuses(&held[1]).await), (1, 10));
    assert_eq!(fleet.charges("a").await, held[1..]);
    let sweep = claims_of(&fleet, "me", 9).await;
    assert_eq!((ids(&sweep), sweep.crashed, fleet.excuses(&other[0]).await), (other, 0, 1));
    // What is withdrawn is withdrawn once.
    fleet.lives("c", record(400)).await;
    fleet.holds("c", 1).await;
    assert_eq!(fleet.dies(&["c"]).await.withdrawn, 0);
    assert_eq!((fleet.crashes(&held[0]).await, fleet.excuses(&held[0]).await), (0, 1));
}

async fn a_count_is_withdrawn_when_another_turns_out_to_be_silent(stream: Stream) {
    let fleet = fleet_of(stream, &["a", "b"]).await;
    for (died, is_withdrawn) in [(1_240, true), (1_260, false)] {
        for name in ["a", "b"] {
            fleet.lives(name, record(400)).await;
        }
        fleet.stream.redis(&["HDEL", ATTEMPTS, "charges:a"]).await;
        let held = charged(&fleet, 1).await;
        let other = fleet.stream.held("b", 0).await;
        fleet.is("a", dead(died)).await;
        fleet.lives("b", record(1_010)).await;
        let (sweep, deaths) = fleet.claims("me", Aim::Take).await;
        assert_eq!((ids(&sweep), sweep.crashed), (vec![other.clone()], 0), "{died}");
        assert_eq!((deaths.silent, deaths.withdrawn), (1, u64::from(is_withdrawn)), "{died}");
        assert_eq!(fleet.crashes(&held[0]).await, u64::from(!is_withdrawn), "{died}");
        assert_eq!(fleet.charges("a").await.is_empty(), is_withdrawn, "{died}");
    }
}

async fn a_job_that_kills_one_process_after_another_is_counted_every_time(stream: Stream) {
    let fleet = fleet_of(stream, &["a", "b", "c"]).await;
    let of_a = fleet.holds("a", 2).await;
    let (job, beside) = (&of_a[0], &of_a[1]);
    fleet.dies(&["a"]).await;
    assert_eq!(ids(&claims_of(&fleet, "b", 1).await), std::slice::from_ref(job));
    assert_eq!(ids(&claims_of(&fleet, "me", 1).await), std::slice::from_ref(beside));
    let of_b = fleet.holds("b", 1).await;
    // What `a` held beside it is excused: half of the fleet died. The job that both had is not.
    assert_eq!(fleet.dies(&["b"]).await.withdrawn, 1);
    assert_eq!((fleet.crashes(job).await, fleet.excuses(job).await), (1, 0));
    assert_eq!((fleet.crashes(beside).await, fleet.excuses(beside).await), (0, 1));
    assert_eq!(fleet.charges("a").await, std::slice::from_ref(job));
    let sweep = claims_of(&fleet, "me", 9).await;
    assert_eq!((ids(&sweep), sweep.crashed), (of_b.clone(), 0), "the job is a suspect now");
    assert_eq!(fleet.excuses(&of_b[0]).await, 1);
    let (alone, _) = fleet.claims("c", Aim::Alone).await;
    assert_eq!((ids(&alone), alone.claimed[0].crashes), (vec![job.clone()], 2));
    assert_eq!(fleet.charges("b").await, std::slice::from_ref(job));
    assert_eq!(fleet.dies(&["c"]).await.withdrawn, 0);
    let (alone, _) = fleet.claims("me", Aim::Alone).await;
    assert_eq!((ids(&alone), alone.claimed[0].crashes), (vec![job.clone()], 3));
    assert_eq!((fleet.charges("c").await, fleet.excuses(job).await), (vec![job.clone()], 0));
}
