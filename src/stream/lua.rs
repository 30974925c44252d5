//! The group's scripts, put together of their files and a header with what both sides must agree on.

use super::config::PROBE_GROUP;
use super::entry_id::HOUR_MS;
use super::fleet_event::{FIELDS as EVENT_FIELDS, KEPT as EVENTS_KEPT};
use super::keys::{ALIVE_SUFFIX, LEDGER_SUFFIX, LISTED, TOLD};
use super::tally::{HOURS_KEPT, LOOK_INTERVAL, MINUTES_KEPT, VALUE_MAX, VALUE_VERSION};
use crate::contract::dead_letter::{HEAD_FIELDS, OUTCOME_ID};
use crate::contract::job_result::ORIGINAL_FIELDS;
use crate::redis::{Script, Source};

/// From so many crashes on an entry is a suspect: it runs in a process that holds nothing else.
pub(crate) const SUSPECT_CRASHES: u64 = 2;

/// How a script asks for the ledger buckets of further hours before it writes anything; the hours follow.
pub(super) const NEED_KEYS: &str = "NEEDKEYS ";
/// Hours that a script asks for at once.
pub(super) const NEED_KEYS_MAX: u64 = 64;
/// Of the listed keys those that the settle script takes too; its ledger bucket follows them.
pub(super) const SETTLE_KEYS: usize = 7;
/// What a packed batch begins with, before the ids.
pub(super) const PACKED_HEAD: usize = 7;

/// Entries that are pending for a replica and not in its hands: as many as one renewal tells of.
pub(crate) const STRAYS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) adopt: Script,
    pub(super) claim: Script,
    pub(super) renew: Script,
    pub(super) record_failure: Script,
    pub(super) withdraw_failures: Script,
    pub(super) settle: Script,
    pub(super) hand_back: Script,
    pub(super) hand_over: Script,
    pub(super) leave: Script,
    pub(super) janitor: Script,
    pub(super) history: Script,
    pub(super) place_mark: Script,
    pub(super) tell: Script,
    pub(super) drain: Script,
    pub(super) wake: Script,
    pub(super) count: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let shared = shared();
        let of_member = shared.clone().part(include_str!("scripts/member.lua"));
        let marks = shared.part(include_str!("scripts/marks.lua"));
        let script = |own: &str| of_member.clone().part(own).script();
        let handed = of_member.clone().text("ALIVE_SUFFIX", ALIVE_SUFFIX).part(include_str!("scripts/handed.lua"));
        let hint = include_str!("scripts/hint.lua");
        let marks_and_hint = marks.clone().text("ALIVE_SUFFIX", ALIVE_SUFFIX).part(hint);
        let liveness = handed.clone().part(include_str!("scripts/liveness.lua"));
        let watch = [include_str!("scripts/deaths.lua"), include_str!("scripts/watch.lua")];
        let of_watch = watch.into_iter().fold(liveness.clone(), Source::part);
        Self {
            adopt: script(include_str!("scripts/adopt.lua")),
            claim: of_watch.part(include_str!("scripts/claim.lua")).script(),
            renew: liveness.number("STRAYS_MAX", STRAYS_MAX).part(include_str!("scripts/renew.lua")).script(),
            record_failure: script(include_str!("scripts/record_failure.lua")),
            withdraw_failures: script(include_str!("scripts/withdraw_failures.lua")),
            settle: settle().script(),
            hand_back: script(include_str!("scripts/hand_back.lua")),
            hand_over: handed.part(hint).part(include_str!("scripts/hand_over.lua")).script(),
            leave: script(include_str!("scripts/leave.lua")),
            janitor: script(include_str!("scripts/janitor.lua")),
            history: marks.part(include_str!("scripts/history.lua")).script(),
            place_mark: marks_and_hint.clone().part(include_str!("scripts/place_mark.lua")).script(),
            wake: marks_and_hint.clone().part(include_str!("scripts/wake.lua")).script(),
            drain: marks_and_hint.part(include_str!("scripts/drain.lua")).script(),
            tell: tell().script(),
            count: tally(prelude(Source::new().keys(&TOLD))).part(include_str!("scripts/count.lua")).script(),
        }
    }
}

/// Name and text of the scripts of the group, for tests that run them, or changed ones, without this program.
#[doc(hidden)]
pub fn script_texts() -> Vec<(&'static str, String)> {
    let scripts = Scripts::new();
    let named = [
        ("adopt", &scripts.adopt),
        ("claim", &scripts.claim),
        ("renew", &scripts.renew),
        ("record_failure", &scripts.record_failure),
        ("withdraw_failures", &scripts.withdraw_failures),
        ("settle", &scripts.settle),
        ("hand_back", &scripts.hand_back),
        ("hand_over", &scripts.hand_over),
        ("leave", &scripts.leave),
        ("janitor", &scripts.janitor),
        ("history", &scripts.history),
        ("place_mark", &scripts.place_mark),
        ("tell", &scripts.tell),
        ("requeue", &requeue()),
        ("remove_dead", &remove_dead()),
    ];
    named.into_iter().map(|(name, script)| (name, script.text().to_owned())).collect()
}

/// Takes the fields of a job out of an entry. Key: jobs.
pub(super) fn known_fields(fields: &[&str]) -> Script {
    let source = Source::new().keys(&LISTED[..1]).texts("JOB_FIELDS", fields);
    source.part(include_str!("scripts/known_fields.lua")).script()
}

/// What all scripts but settle begin with.
fn shared() -> Source {
    prelude(Source::new().keys(&LISTED))
        .number("SHARED_KEYS", LISTED.len())
        .text("LEDGER_SUFFIX", LEDGER_SUFFIX)
        .number("HOUR_MS", HOUR_MS)
        .text("NEED_KEYS", NEED_KEYS)
        .number("NEED_KEYS_MAX", NEED_KEYS_MAX)
        .number("SUSPECT_CRASHES", SUSPECT_CRASHES)
        .part(include_str!("scripts/bookkeeping.lua"))
}

fn prelude(source: Source) -> Source {
    source.text("PROBE", PROBE_GROUP).part(include_str!("scripts/prelude.lua"))
}

fn settle() -> Source {
    let keys = [&LISTED[..SETTLE_KEYS], &["BUCKET"]].concat();
    prelude(Source::new().keys(&keys))
        .number("PACKED_HEAD", PACKED_HEAD)
        .number("ORIGINAL_FIELDS", ORIGINAL_FIELDS)
        .number("DEAD_HEAD", HEAD_FIELDS.len())
        .part(include_str!("scripts/settle.lua"))
}

/// What a replica tells operators, and what they want of it.
fn tell() -> Source {
    let parts = [
        include_str!("scripts/tell_open.lua"),
        include_str!("scripts/tell_events.lua"),
        include_str!("scripts/marks.lua"),
        include_str!("scripts/tell_marks.lua"),
        include_str!("scripts/tell.lua"),
    ];
    parts.into_iter().fold(tally(events(Source::new().keys(&TOLD))), Source::part)
}

/// Adding to the history.
fn tally(source: Source) -> Source {
    source
        .number("MINUTES_KEPT", MINUTES_KEPT)
        .number("HOURS_KEPT", HOURS_KEPT)
        .number("VALUE_VERSION", VALUE_VERSION)
        .number("VALUE_MAX", VALUE_MAX)
        .number("LOOK_MS", LOOK_INTERVAL.as_millis())
        .part(include_str!("scripts/tell_tally.lua"))
}

/// Writes down what an operator has done. Key: events.
pub(super) fn note() -> Script {
    events(Source::new().keys(&["EVENTS"])).part(include_str!("scripts/note.lua")).script()
}

/// Writing events down, behind the names of the keys.
fn events(source: Source) -> Source {
    prelude(source)
        .texts("EVENT_FIELDS", &EVENT_FIELDS)
        .number("EVENTS_KEPT", EVENTS_KEPT)
        .part(include_str!("scripts/events.lua"))
}

/// Puts dead letters back. Keys: jobs, dead letters, log of requeued ones.
pub(super) fn requeue() -> Script {
    let head: Vec<&str> = HEAD_FIELDS.into_iter().chain([OUTCOME_ID]).collect();
    let source = Source::new().keys(&["JOBS", "DEAD", "LOG"]).texts("HEAD", &head);
    source.part(include_str!("scripts/requeue.lua")).script()
}

/// Reads entries with long values cut. Key: the stream.
pub(super) fn excerpt() -> Script {
    Source::new().keys(&["STREAM"]).part(include_str!("scripts/excerpt.lua")).script()
}

/// Removes dead letters. Key: dead letters.
pub(super) fn remove_dead() -> Script {
    Source::new().keys(&["DEAD"]).part(include_str!("scripts/remove_dead.lua")).script()
}
