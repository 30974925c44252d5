//! What was seen: ids and what happened to them, nothing of the payloads. Plain data.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::containers::Breach;
use super::id::Id;
use super::moment::Moment;

/// What an entry of the jobs stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A job.
    Job,
    /// Not a job.
    Malformed,
    /// Not in the stream (any more): only its traces are known.
    Absent,
}

/// What the ledger says about an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ledger {
    /// Settled.
    Settled,
    /// Not settled.
    Unsettled,
    /// Older than the ledger: it cannot tell.
    Untold,
}

/// What the first outcome of an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// There is no outcome, or it was not looked at.
    Nothing,
    /// `success`, with a container and where it answers.
    Success,
    /// `success`, and the container or where it answers is empty.
    SuccessIncomplete,
    /// `failure`, with a code.
    Failure,
    /// `failure`, and the code is empty.
    FailureWithoutCode,
    /// Neither of the two words.
    AnotherWord,
}

/// One entry and its outcomes. Kept small: there are millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its id in the jobs stream.
    pub id: Id,
    /// A hash of its game; 0 where it is no job.
    pub game: u64,
    /// The first outcome that names it; [`Id::ZERO`]: none.
    pub outcome: Id,
    /// A hash of the container that this outcome names; 0 where it names none.
    pub container: u64,
    /// How many outcomes name it.
    pub outcomes: u16,
    /// What it is.
    pub form: Form,
    /// What the ledger says.
    pub ledger: Ledger,
    /// What its first outcome says.
    pub said: Said,
    /// An outcome's code is one that is only ever published together with a dead letter.
    pub owes_letter: bool,
    /// An outcome names another game.
    pub is_other_game: bool,
}

impl Entry {
    /// An entry of which nothing else is known yet.
    pub fn new(id: Id, form: Form, game: u64) -> Self {
        Self {
            id,
            game,
            outcome: Id::ZERO,
            container: 0,
            outcomes: 0,
            form,
            ledger: Ledger::Untold,
            said: Said::Nothing,
            owes_letter: false,
            is_other_game: false,
        }
    }
}

/// Why an entry became a dead letter, as the letter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `malformed`
    Malformed,
    /// `entry_lost`
    Lost,
    /// `poison` or `retries_exhausted`: answered, and kept for people.
    Answered,
    /// Anything else.
    Unknown,
}

/// The dead letters of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letter {
    /// The first letter's reason.
    pub reason: Reason,
    /// The outcome it names; [`Id::ZERO`]: none.
    pub outcome: Id,
    /// How many there are.
    pub letters: u32,
}

/// An entry's place in the pending list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Milliseconds since it was last touched.
    pub idle_ms: u64,
    /// Its owner's presence has not expired.
    pub is_owner_live: bool,
}

/// The ends of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// The first entry that is there.
    pub first: Option<Id>,
    /// The last id ever given.
    pub last: Id,
    /// Entries may have been removed from it.
    pub is_cut: bool,
    /// Entries ever appended; none where the server does not say.
    pub added: Option<u64>,
    /// Entries that are there.
    pub length: u64,
    /// The highest id that was deleted by XDEL, [`Id::ZERO`] where none was; none where the server does not say. A trim
    /// does not count.
    pub deleted: Option<Id>,
}

impl Ends {
    /// Whether an entry that was appended at `ms` or later may have been removed from the front.
    pub fn may_have_lost(&self, ms: u64) -> bool {
        self.is_cut && self.first.is_none_or(|first| ms < first.0)
    }

    /// How many entries were removed from it, by a trim or by XDEL; none where the server does not say.
    pub fn removed(&self) -> Option<u64> {
        self.added.map(|added| added.saturating_sub(self.length))
    }

    /// Whether entries were deleted from it one by one, and no trim to this many entries can have removed any.
    pub fn is_only_deleted_from(&self, trimmed_to: u64) -> bool {
        self.deleted.is_some_and(|deleted| deleted > Id::ZERO) && self.added.is_some_and(|added| added <= trimmed_to)
    }

    /// Whether an entry of this id that is not in the stream never was in it, as far as the history that is left tells:
    /// it is above the end, or above everything that was ever trimmed or deleted.
    pub fn never_had(&self, id: Id) -> bool {
        let is_above_what_went = !self.is_cut || self.deleted.is_some_and(|deleted| id > deleted);
        id > self.last || (is_above_what_went && self.first.is_some_and(|first| id > first))
    }

    /// Whether the entry of this id may have been removed from the front.
    pub fn may_have_cut(&self, id: Id) -> bool {
        self.is_cut && self.first.is_none_or(|first| id < first)
    }
}

/// Outcomes of one game that name no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsourced {
    /// The game.
    pub game: String,
    /// How many.
    pub outcomes: u64,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Entries up to here are not looked at.
    pub since: Id,
    /// Entries after this one came after the audit began.
    pub horizon: Id,
    /// The lowest last-delivered id that was seen.
    pub delivered: Id,
    /// The jobs stream.
    pub jobs: Ends,
    /// The results stream.
    pub results: Ends,
    /// The dead-letter stream.
    pub dead: Ends,
    /// The ledger can tell about entries of this millisecond and later.
    pub ledger_from_ms: u64,
    /// `claim-idle`
    pub claim_idle_ms: u64,
    /// `--stuck-after`
    pub stuck_after_ms: u64,
    /// `dead-max`: the fleet trims no dead-letter stream that is shorter.
    pub dead_max: u64,
    /// Outcomes carry no `source_ref` by the settings.
    pub is_by_game: bool,
    /// `--since` named an id: the operator says that the fleet answers for everything after it.
    pub is_since_given: bool,
    /// The entries of the jobs stream in scope, in order.
    pub entries: Vec<Entry>,
    /// Traces of entries that are not in the stream.
    pub absent: BTreeMap<Id, Entry>,
    /// Dead letters by entry.
    pub letters: BTreeMap<Id, Letter>,
    /// Entries whose dead letter an operator has put back into the jobs stream.
    pub requeued: BTreeSet<Id>,
    /// The pending list.
    pub pending: BTreeMap<Id, Pending>,
    /// Outcomes without `source_ref`, by the game's hash.
    pub unsourced: HashMap<u64, Unsourced>,
    /// Entries after the horizon by game; only where outcomes are told apart by game.
    pub newer: HashMap<u64, u64>,
    /// Outcomes whose `source_ref` is no id: their own ids.
    pub unreadable_outcomes: Vec<Id>,
    /// Dead letters whose `source_ref` is no id: their own ids.
    pub unreadable_letters: Vec<Id>,
    /// Outcomes and letters of entries up to `since`.
    pub before_since: u64,
    /// The mirror, looked at several times.
    pub moments: Vec<Moment>,
    /// Games with more than one live container.
    pub breaches: Vec<Breach>,
}

impl Facts {
    /// The entry of this id, there or absent.
    pub fn entry_mut(&mut self, id: Id) -> &mut Entry {
        match self.entries.binary_search_by_key(&id, |entry| entry.id) {
            Ok(at) => &mut self.entries[at],
            Err(_) => self.absent.entry(id).or_insert_with(|| Entry::new(id, Form::Absent, 0)),
        }
    }

    /// The entry of this id, there or absent; none where nothing is known of it.
    pub fn entry(&self, id: Id) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&id, |entry| entry.id);
        at.ok().map(|at| &self.entries[at]).or_else(|| self.absent.get(&id))
    }

    /// Whether this id names an entry of the stream in scope.
    pub fn is_there(&self, id: Id) -> bool {
        self.entries.binary_search_by_key(&id, |entry| entry.id).is_ok()
    }

    /// Bytes that the facts about single entries take, about.
    pub fn bytes(&self) -> usize {
        let in_tree = size_of::<Id>() + size_of::<Entry>() + 24;
        let side = size_of::<Id>() + size_of::<Letter>() + 24;
        self.entries.capacity() * size_of::<Entry>()
            + self.absent.len() * in_tree
            + (self.letters.len() + self.pending.len()) * side
            + self.requeued.len() * size_of::<Id>()
            + self.unsourced.len() * 96
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_first_was_not_cut_and_what_is_before_it_may_have_been() {
        let ends = Ends { first: Some(Id(10, 5)), last: Id(20, 0), is_cut: true, ..Ends::default() };
        assert!(ends.may_have_cut(Id(10, 4)) && !ends.may_have_cut(Id(10, 5)) && !ends.may_have_cut(Id(11, 0)));
        assert!(ends.may_have_lost(9) && !ends.may_have_lost(10));
        assert!(!Ends { is_cut: false, ..ends }.may_have_cut(Id(10, 4)));
        assert!(Ends { first: None, ..ends }.may_have_cut(Id(30, 0)), "an empty stream may have lost everything");
    }

    #[test]
    fn what_is_above_everything_that_went_never_was_in_the_stream() {
        let ends = Ends { first: Some(Id(10, 0)), last: Id(20, 0), ..Ends::default() };
        assert!(ends.never_had(Id(15, 0)) && !ends.never_had(Id(10, 0)), "one that never lost an entry");
        assert!(ends.never_had(Id(20, 1)), "above the end");
        let cut = Ends { is_cut: true, deleted: Some(Id(15, 0)), ..ends };
        assert!(!cut.never_had(Id(15, 0)) && cut.never_had(Id(15, 1)) && !cut.never_had(Id(9, 0)));
        let unknown = Ends { deleted: None, ..cut };
        assert!(!unknown.never_had(Id(19, 0)) && unknown.never_had(Id(20, 1)), "6.2 does not say what was deleted");
        assert!(!Ends { first: None, ..ends }.never_had(Id(15, 0)), "one that began anew may have had it before");
    }

    #[test]
    fn a_trim_to_more_entries_than_there_ever_were_removes_none() {
        let ends = Ends { added: Some(100), length: 97, deleted: Some(Id(1, 0)), ..Ends::default() };
        assert_eq!((ends.removed(), Ends { added: None, ..ends }.removed()), (Some(3), None));
        assert!(ends.is_only_deleted_from(100) && !ends.is_only_deleted_from(99));
        assert!(!Ends { deleted: Some(Id::ZERO), ..ends }.is_only_deleted_from(100), "somebody trimmed it by hand");
        assert!(!Ends { deleted: None, ..ends }.is_only_deleted_from(100));
    }
}
