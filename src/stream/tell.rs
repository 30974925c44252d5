//! What a replica tells operators of its work, and what they want of it, in one call beside its renewals. Nothing of it is
//! needed for an outcome: where it is refused, everything else goes on.

use bytes::Bytes;

use super::drain::Drain;
use super::entry_id::EntryId;
use super::fleet_event::FleetEvent;
use super::group::{Member, packed};
use super::mark::{Mark, marks_of};
use super::open::OpenJob;
use super::tally::Tally;
use crate::redis::packed::Strings;
use crate::redis::{Key, RedisError, Value};

/// What a replica tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// The jobs that it holds and that do not run, the first ones. Not more than [`super::open::OPEN_MAX`].
    pub(crate) open: Vec<OpenJob>,
    /// How many wait for their next attempt, all of them.
    pub(crate) backing_off: usize,
    /// The entries whose marks it asks for: those of `open`, and others. Not more than [`ASKS_MAX`].
    pub(crate) asks: Vec<EntryId>,
    /// What happened since it last told. Not more than [`EVENTS_MAX`].
    pub(crate) events: Vec<FleetEvent>,
    /// What it has done since it last told.
    pub(crate) tally: Tally,
}

/// Entries whose marks one report asks for.
pub(crate) const ASKS_MAX: usize = 500;
/// Events that one report tells of.
pub(crate) const EVENTS_MAX: usize = 100;

/// What operators want of a replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Of the jobs that it asks for.
    pub(crate) marks: Vec<Mark>,
    /// Of itself: that it drains.
    pub(crate) drain: Option<Drain>,
}

impl Member {
    /// Tells; answers what operators want.
    pub(crate) async fn tell(&self, report: &Report) -> Result<Wanted, RedisError> {
        let args = [
            strings(|strings| {
                strings.push(report.backing_off.to_string().as_bytes());
                report.open.iter().for_each(|job| job.push(strings));
            })?,
            strings(|strings| report.events.iter().for_each(|event| event.push(strings)))?,
            strings(|strings| report.tally.push(strings))?,
            packed(&report.asks)?,
        ];
        let keys = self.group.keys.told().into_iter().map(Key::from).collect();
        let reply = self.group.call_with(&self.group.scripts.tell, keys, self.named(args)).await?;
        let (marks, drain): (Vec<Bytes>, Vec<Bytes>) = reply.convert()?;
        Ok(Wanted { marks: marks_of(&marks)?, drain: Drain::of_words(&drain) })
    }
}

fn strings(push: impl FnOnce(&mut Strings)) -> Result<Value, RedisError> {
    let mut strings = Strings::expecting(64);
    push(&mut strings);
    strings.into_array().map(Value::from)
}
