//! What was seen: ids and what happened to them, nothing of the payloads. Plain data.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::containers::Breach;
use super::ends::Ends;
use super::id::Id;
use super::moment::Moment;

/// What an entry of the jobs stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A job.
    Job,
    /// Not a job.
    Malformed,
    /// Not in the stream (any more): only its traces are known.
    Absent,
}

/// What the ledger says about an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ledger {
    /// Settled.
    Settled,
    /// Not settled.
    Unsettled,
    /// Older than the ledger: it cannot tell.
    Untold,
}

/// What the first outcome of an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
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
pub(crate) struct Entry {
    /// Its id in the jobs stream.
    pub(crate) id: Id,
    /// A hash of its game; 0 where it is no job.
    pub(crate) game: u64,
    /// The first outcome that names it; [`Id::ZERO`]: none.
    pub(crate) outcome: Id,
    /// A hash of the container that this outcome names; 0 where it names none.
    pub(crate) container: u64,
    /// How many outcomes name it.
    pub(crate) outcomes: u16,
    /// What it is.
    pub(crate) form: Form,
    /// What the ledger says.
    pub(crate) ledger: Ledger,
    /// What its first outcome says.
    pub(crate) said: Said,
    /// An outcome's code is one that is only ever published together with a dead letter.
    pub(crate) owes_letter: bool,
    /// An outcome names another game.
    pub(crate) is_other_game: bool,
}

impl Entry {
    /// An entry of which nothing else is known yet.
    pub(crate) fn new(id: Id, form: Form, game: u64) -> Self {
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
pub(crate) enum Reason {
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
pub(crate) struct Letter {
    /// The first letter's reason.
    pub(crate) reason: Reason,
    /// The outcome it names; [`Id::ZERO`]: none.
    pub(crate) outcome: Id,
    /// How many there are.
    pub(crate) letters: u32,
}

/// An entry's place in the pending list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Milliseconds since it was last touched.
    pub idle_ms: u64,
    /// Its owner's presence has not expired.
    pub(crate) is_owner_live: bool,
}

/// Outcomes of one game that name no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsourced {
    /// The game.
    pub(crate) game: String,
    /// How many.
    pub(crate) outcomes: u64,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Entries up to here are not looked at.
    pub(crate) since: Id,
    /// Entries after this one came after the audit began.
    pub(crate) horizon: Id,
    /// The lowest last-delivered id that was seen.
    pub(crate) delivered: Id,
    /// The jobs stream.
    pub(crate) jobs: Ends,
    /// The results stream.
    pub(crate) results: Ends,
    /// The dead-letter stream.
    pub(crate) dead: Ends,
    /// The ledger can tell about entries of this millisecond and later.
    pub(crate) ledger_from_ms: u64,
    /// `claim-idle`
    pub(crate) claim_idle_ms: u64,
    /// `--stuck-after`
    pub(crate) stuck_after_ms: u64,
    /// `dead-max`: the fleet trims no dead-letter stream that is shorter.
    pub(crate) dead_max: u64,
    /// Outcomes carry no `source_ref` by the settings.
    pub(crate) is_by_game: bool,
    /// `--since` named an id: the operator says that the fleet answers for everything after it.
    pub(crate) is_since_given: bool,
    /// The entries of the jobs stream in scope, in order.
    pub(crate) entries: Vec<Entry>,
    /// Traces of entries that are not in the stream.
    pub(crate) absent: BTreeMap<Id, Entry>,
    /// Dead letters by entry.
    pub(crate) letters: BTreeMap<Id, Letter>,
    /// Entries whose dead letter an operator has put back into the jobs stream.
    pub(crate) requeued: BTreeSet<Id>,
    /// The pending list.
    pub(crate) pending: BTreeMap<Id, Pending>,
    /// Outcomes without `source_ref`, by the game's hash.
    pub(crate) unsourced: HashMap<u64, Unsourced>,
    /// Entries after the horizon by game; only where outcomes are told apart by game.
    pub(crate) newer: HashMap<u64, u64>,
    /// Outcomes whose `source_ref` is no id: their own ids.
    pub(crate) unreadable_outcomes: Vec<Id>,
    /// Dead letters whose `source_ref` is no id: their own ids.
    pub(crate) unreadable_letters: Vec<Id>,
    /// Outcomes and letters of entries up to `since`.
    pub(crate) before_since: u64,
    /// The mirror, looked at several times.
    pub(crate) moments: Vec<Moment>,
    /// Games with more than one live container.
    pub(crate) breaches: Vec<Breach>,
}

impl Facts {
    /// The entry of this id, there or absent.
    pub(crate) fn entry_mut(&mut self, id: Id) -> &mut Entry {
        match self.entries.binary_search_by_key(&id, |entry| entry.id) {
            Ok(at) => &mut self.entries[at],
            Err(_) => self.absent.entry(id).or_insert_with(|| Entry::new(id, Form::Absent, 0)),
        }
    }

    /// The entry of this id, there or absent; none where nothing is known of it.
    pub(crate) fn entry(&self, id: Id) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&id, |entry| entry.id);
        at.ok().map(|at| &self.entries[at]).or_else(|| self.absent.get(&id))
    }

    /// Whether this id names an entry of the stream in scope.
    pub(crate) fn is_there(&self, id: Id) -> bool {
        self.entries.binary_search_by_key(&id, |entry| entry.id).is_ok()
    }

    /// Bytes that the facts about single entries take, about.
    pub(crate) fn bytes(&self) -> usize {
        let in_tree = size_of::<Id>() + size_of::<Entry>() + 24;
        let side = size_of::<Id>() + size_of::<Letter>() + 24;
        self.entries.capacity() * size_of::<Entry>()
            + self.absent.len() * in_tree
            + (self.letters.len() + self.pending.len()) * side
            + self.requeued.len() * size_of::<Id>()
            + self.unsourced.len() * 96
    }
}
