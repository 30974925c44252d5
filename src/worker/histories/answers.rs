//! How calls end, by a random number: as well or as badly as they can.

use std::time::Duration;

use bytes::Bytes;

use crate::contract::dead_letter::Reason;
use crate::contract::error_code::ErrorCode;
use crate::metrics::labels::{OutcomeCode, OutcomeKind};
use crate::redis::{Kind, RedisError};
use crate::stream::entry_id::EntryId;
use crate::stream::failures::Attempts;
use crate::stream::fetch::{Fetched, Payload};
use crate::stream::settle::{MirrorMove, Outcome, SettleReply, Settled};
use crate::stream::{Delivery, Origin};
use crate::worker::handler::{Answer, Blame, Condemned, Failure};
use crate::worker::stages::held::Held;
use crate::worker::work::{Conclusion, Ticket};

/// A random number that decides how a call ends.
pub(super) type Dice = u16;

/// No answer.
pub(super) fn lost() -> RedisError {
    RedisError { kind: Kind::Unreachable, text: "no answer".to_owned() }
}

/// What a reading of payloads brought.
pub(super) fn fetched(entries: &[Held], dice: Dice, goes_well: bool) -> Fetched {
    let arrive = if goes_well { entries.len() } else { usize::from(dice % 5).min(entries.len()) };
    let payload = |held: &Held| match dice.wrapping_add(u16::try_from(held.id().ms).unwrap_or(0)) % 7 {
        0 => Payload::Gone,
        1 => Payload::Whole(Vec::new()),
        _ => Payload::Whole(vec![(Bytes::from_static(b"lane"), Bytes::from(format!("g{}", held.id().ms % 4)))]),
    };
    Fetched {
        payloads: entries.iter().take(arrive).map(payload).collect(),
        is_next_stuck: dice.is_multiple_of(3),
        failed: (!goes_well && dice.is_multiple_of(4)).then(lost),
    }
}

/// A new entry, as a read brings it.
pub(super) fn delivery(id: &EntryId) -> Delivery {
    Delivery {
        id: *id,
        origin: Origin::New,
        dead_owner: None,
        deliveries: 1,
        crashes: 0,
        failures: 0,
        fields: Some(vec![(Bytes::from_static(b"lane"), Bytes::from(format!("g{}", id.ms % 4)))]),
    }
}

/// The answer to a batch of which this became.
pub(super) fn settle_reply(settled: Vec<Settled>) -> SettleReply {
    SettleReply { mirror_move: MirrorMove::Same, mirror: "0-0".to_owned(), foreign: None, delivered: None, settled }
}

/// How an attempt ended.
pub(super) fn conclusion(ticket: &Ticket, dice: Dice, goes_well: bool) -> Conclusion {
    let again = |is_counted, why| Conclusion::Again { after: Duration::from_millis(300), is_counted, why };
    let reason = Condemned { reason: Reason::Poison, detail: String::new() };
    match dice % 9 {
        0 if !goes_well => Conclusion::NotOurs,
        1 if !goes_well => Conclusion::EngineDown("down".to_owned()),
        2 if !goes_well => again(false, Failure::Store(lost())),
        3 if !goes_well => {
            let blame = [Blame::Job, Blame::Unclear, Blame::Engine][usize::from(dice / 8 % 3)];
            let why = Failure::Failed { code: ErrorCode::InternalError, message: String::new(), blame };
            again(!ticket.is_canary, why)
        }
        4 if !goes_well => Conclusion::Elsewhere("elsewhere".into()),
        5 if !goes_well => again(false, Failure::NoRoom { code: ErrorCode::HostFull, message: String::new() }),
        _ => {
            let answer = Answer {
                outcome: Outcome::of(|push| push(b"done")),
                kind: OutcomeKind::Success,
                error_code: "".into(),
                label: OutcomeCode::Started,
                dead_letter: (dice % 16 == 15).then_some(reason),
            };
            let attempts = Attempts { crashes: ticket.crashes, failures: 0, failing_for: Duration::ZERO };
            Conclusion::Answered(answer, attempts)
        }
    }
}
