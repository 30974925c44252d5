//! Wrong protocols violate the properties.

use super::explore::violates;
use super::protocol::Protocol;
use super::state::Fault::{
    self, Cancel, Crash, DeleteConsumer, Destroy, EngineFails, Failover, GameFails, HandBack, ReplyLost, Stop,
};
use super::variants::Variant;

const ANSWERED: &str = "every job is answered";
const ONE_OUTCOME: &str = "at most one outcome";
const NEVER_PAST: &str = "the mirror is never past an unsettled entry";
const LIVING: &str = "nothing is taken from the living";
const HOLDER_COMMITS: &str = "only the holder of the record commits";
const NOT_REMOVED: &str = "no running game is removed";
const TRUE_RECORDS: &str = "the records are true at rest";
const ONE_CONTAINER: &str = "one container for each game";
const CANCELLED: &str = "a cancelled job leaves no container";

fn one(faults: &[(Fault, u8)]) -> Protocol {
    Protocol::of(&[0], faults)
}

#[test]
fn settling_what_is_pending_for_another() {
    violates(Variant::SettleUnowned, "nothing is published over a newer attempt", one(&[(Stop, 1)]));
}

#[test]
fn settling_without_the_ledger() {
    violates(Variant::SettleWithoutLedger, ONE_OUTCOME, one(&[(Destroy, 1), (ReplyLost, 1)]));
}

#[test]
fn acknowledging_before_publishing() {
    violates(Variant::AckBeforePublish, NEVER_PAST, one(&[(Crash, 1)]));
}

#[test]
fn moving_the_mirror_before_settling() {
    violates(Variant::MirrorBeforeLedger, NEVER_PAST, one(&[(Crash, 1)]));
}

#[test]
fn publishing_before_the_rest() {
    violates(Variant::PublishBeforeLedger, ONE_OUTCOME, one(&[(Crash, 1)]));
}

#[test]
fn claiming_from_the_living() {
    violates(Variant::ClaimFromLiving, LIVING, one(&[]));
}

#[test]
fn handing_back_what_is_pending_for_another() {
    violates(Variant::HandBackUnowned, LIVING, one(&[(Stop, 1), (HandBack, 1)]));
}

#[test]
fn starting_what_was_claimed_without_a_look_up() {
    let asked_again = "nothing settled is asked of the start service again";
    violates(Variant::NoLookup, asked_again, one(&[(Destroy, 1), (Crash, 1)]));
}

#[test]
fn a_mirror_that_says_what_was_delivered() {
    violates(Variant::MirrorAtDelivered, NEVER_PAST, Protocol::of(&[0, 1], &[]));
}

#[test]
fn a_mirror_that_is_never_lowered() {
    violates(Variant::MirrorNeverLowered, NEVER_PAST, Protocol::of(&[0, 1], &[(DeleteConsumer, 1)]));
}

#[test]
fn a_group_that_begins_at_the_end_of_the_stream() {
    violates(Variant::AdoptAtEnd, NEVER_PAST, one(&[(Destroy, 1)]));
}

#[test]
fn a_group_that_forgets_what_was_verified() {
    let faults = [(DeleteConsumer, 1), (Destroy, 1), (Crash, 1)];
    violates(Variant::AdoptForgetsVerified, ANSWERED, Protocol::of(&[0, 0], &faults));
}

#[test]
fn a_fleet_without_a_janitor() {
    violates(Variant::NoJanitor, ANSWERED, one(&[(DeleteConsumer, 1), (Crash, 1)]));
}

#[test]
fn a_janitor_that_trims_what_was_delivered() {
    violates(Variant::TrimToDelivered, ANSWERED, Protocol { trims: true, ..one(&[(Crash, 1)]) });
}

#[test]
fn a_fence_that_is_not_raised() {
    violates(Variant::FenceNotRaised, TRUE_RECORDS, one(&[(Stop, 1), (GameFails, 1)]));
}

#[test]
fn a_record_that_is_held_by_the_fence_alone() {
    violates(Variant::FenceWithoutOwner, HOLDER_COMMITS, one(&[(Failover, 1), (Stop, 1)]));
}

#[test]
fn a_commit_without_the_fence() {
    violates(Variant::CommitUnfenced, HOLDER_COMMITS, one(&[(Stop, 1)]));
    violates(Variant::CommitUnfenced, "the fence never goes back", one(&[(Stop, 1)]));
}

#[test]
fn engine_calls_without_the_fence() {
    let one_more = "an overtaken attempt makes one more engine call at most";
    violates(Variant::EngineUnfenced, one_more, one(&[(Stop, 1)]));
}

#[test]
fn a_container_that_is_removed_before_it_is_condemned() {
    violates(Variant::RemoveBeforeCondemn, NOT_REMOVED, one(&[(Stop, 1), (GameFails, 1)]));
}

#[test]
fn a_container_that_is_never_condemned() {
    violates(Variant::NeverCondemned, NOT_REMOVED, one(&[(Stop, 1), (GameFails, 1)]));
}

#[test]
fn an_unstarted_container_that_is_not_condemned() {
    violates(Variant::LeaveUncondemned, NOT_REMOVED, one(&[(Stop, 1), (EngineFails, 1)]));
}

#[test]
fn a_fenced_attempt_that_does_not_ask() {
    violates(Variant::DisownBlindly, NOT_REMOVED, one(&[(Stop, 1)]));
}

#[test]
fn giving_up_without_the_fence() {
    violates(Variant::AbandonUnfenced, CANCELLED, one(&[(Stop, 1), (Cancel, 1)]));
}

#[test]
fn a_cancelled_job_that_stays_in_the_stream() {
    violates(Variant::CancelKeepsEntry, CANCELLED, one(&[(Cancel, 1)]));
}

#[test]
fn a_game_that_is_placed_anywhere() {
    violates(Variant::PlacedAnywhere, ONE_CONTAINER, Protocol::of(&[0, 0], &[]).on_hosts(&[0, 1]));
}

#[test]
fn a_dead_hosts_answer_that_stands() {
    let dies = Protocol { lost_host: Some(0), ..one(&[(Crash, 1)]).on_hosts(&[0, 1]) };
    violates(Variant::DeadHostsAnswerStands, ANSWERED, dies.clone());
    violates(Variant::DeadHostsAnswerStands, "nothing stays pending", dies.clone());
    violates(Variant::DeadHostsAnswerStands, "the mirror is exact at rest", dies);
}

#[test]
fn a_host_that_is_not_cleared() {
    violates(Variant::NoReconciler, ONE_CONTAINER, one(&[(Stop, 1)]).on_hosts(&[0, 1]));
}

#[test]
fn a_reconciler_that_does_not_ask() {
    violates(Variant::ReapBlindly, NOT_REMOVED, one(&[]));
    violates(Variant::ReapBlindly, "no run is endless", one(&[]));
}
