//! Facts in, findings out. Pure: no clock, no I/O.
//!
//! An entry gets at most one finding, the most telling one. Where the facts cannot tell (trimmed streams, entries older
//! than the ledger, the original worker's outcomes), the entry is counted apart and never called a violation.

// random histories, and one thing wrong in each
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::containers::Breach;
use super::facts::{Entry, Facts, Form, Ledger, Letter, Pending, Reason, Said};
use super::finding::{Finding, Kind};
use super::id::Id;

/// How many entries were in which state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Entries of the jobs stream in scope.
    pub entries: u64,
    /// Jobs with their one outcome.
    pub answered: u64,
    /// Jobs matched with an outcome without `source_ref` of their game.
    pub answered_by_game: u64,
    /// Malformed entries with their one dead letter.
    pub malformed: u64,
    /// Jobs with an outcome and the dead letter that goes with it.
    pub answered_and_dead: u64,
    /// Entries whose payload was lost, with their one dead letter.
    pub(crate) entry_lost: u64,
    /// Pending, with a live owner.
    pub pending_live: u64,
    /// Pending, and any replica may claim it.
    pub(crate) pending_claimable: u64,
    /// How long the oldest of those has been claimable.
    pub(crate) claimable_for_ms_max: u64,
    /// Not yet delivered.
    pub(crate) undelivered: u64,
    /// Before the first entry that the fleet left a trace of: the original worker's.
    pub before_adoption: u64,
    /// Their outcome or dead letter may have been trimmed.
    pub(crate) untold: u64,
    /// Outcomes and dead letters of entries that were trimmed from the jobs stream.
    pub(crate) trimmed: u64,
    /// Settled entries that were deleted from the stream since.
    pub deleted: u64,
    /// Outcomes of entries that were appended after the audit began.
    pub(crate) newer: u64,
    /// Answered entries that the jobs stream never had, as far as the surviving history tells: they were sent, and Redis
    /// lost them, as a failover to a replica that lagged does.
    pub absent_from_history: u64,
    /// Entries whose dead letter is gone because an operator requeued it.
    pub requeued: u64,
    /// Outcomes without `source_ref` that no entry in scope accounts for.
    pub(crate) unsourced: u64,
    /// Outcomes and dead letters of entries before the scope.
    pub(crate) before_since: u64,
}

/// What the facts say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The counts.
    pub(crate) counts: Counts,
    /// The first entry the fleet answers for, where that was found out from its traces.
    pub(crate) adopted_from: Option<Id>,
    /// Everything that is wrong, by kind and entry.
    pub(crate) findings: Vec<Finding>,
}

/// Judges the facts.
pub(crate) fn judge(facts: &Facts) -> Verdict {
    let mut judge = Judge {
        facts,
        adopted_from: adopted_from(facts),
        available: facts.unsourced.iter().map(|(&game, unsourced)| (game, unsourced.outcomes)).collect(),
        open: HashMap::new(),
        missing: Missing::default(),
        verdict: Verdict::default(),
    };
    for entry in &facts.entries {
        judge.entry(entry);
    }
    for entry in facts.absent.values() {
        judge.absent(entry);
    }
    judge.missing();
    judge.leftovers();
    judge.moments();
    let Judge { adopted_from, mut verdict, .. } = judge;
    verdict.adopted_from = adopted_from;
    verdict.counts.before_since = facts.before_since;
    verdict.findings.sort_unstable();
    verdict
}

/// The games that had more than one live container.
pub(crate) fn of_breaches(facts: &Facts) -> Vec<Finding> {
    let detail = |breach: &Breach| format!("game {:?}, {} at once", breach.game, breach.live);
    facts.breaches.iter().map(|breach| Finding::with(Kind::TwoContainers, Id::ZERO, detail(breach))).collect()
}

/// The first entry with a trace of the fleet, if there is reason to believe that another worker answered those
/// before it: outcomes without `source_ref`, or results that were trimmed.
fn adopted_from(facts: &Facts) -> Option<Id> {
    if facts.is_by_game || facts.is_since_given {
        return None;
    }
    if facts.unsourced.is_empty() && !facts.results.is_cut {
        return None;
    }
    let has_trace = |entry: &&Entry| {
        entry.outcomes > 0
            || entry.ledger == Ledger::Settled
            || facts.letters.contains_key(&entry.id)
            || facts.pending.contains_key(&entry.id)
            || entry.id > facts.delivered
    };
    Some(facts.entries.iter().find(has_trace).map_or(Id::MAX, |entry| entry.id))
}

struct Judge<'a> {
    facts: &'a Facts,
    adopted_from: Option<Id>,
    /// Outcomes without `source_ref` that no entry has been matched with.
    available: HashMap<u64, u64>,
    /// Entries by game that may have been answered since they were seen; only where outcomes are told apart by game.
    open: HashMap<u64, u64>,
    missing: Missing,
    verdict: Verdict,
}

/// Answers that certainly were published before they were looked for, and that a trim may have removed: no more of
/// them can be missing than were removed.
#[derive(Debug, Default)]
struct Missing {
    outcomes: u64,
    letters: u64,
}

impl Judge<'_> {
    fn find(&mut self, kind: Kind, id: Id) {
        self.verdict.findings.push(Finding::of(kind, id));
    }

    fn entry(&mut self, entry: &Entry) {
        self.verdict.counts.entries += 1;
        let letter = self.facts.letters.get(&entry.id).copied();
        if letter.is_some_and(|letter| letter.letters > 1) {
            return self.find(Kind::DuplicateDeadLetter, entry.id);
        }
        match (entry.form, entry.outcomes) {
            (Form::Malformed, 0) => self.malformed(entry, letter),
            (Form::Malformed, _) => self.find(Kind::OutcomeForMalformed, entry.id),
            (_, 0) => self.unanswered(entry, letter),
            (_, 1) => self.answered(entry, letter),
            (_, _) => self.find(Kind::DuplicateOutcome, entry.id),
        }
    }

    fn malformed(&mut self, entry: &Entry, letter: Option<Letter>) {
        match letter {
            Some(letter) if letter.reason != Reason::Malformed => self.find(Kind::WrongDeadLetter, entry.id),
            Some(_) if entry.ledger == Ledger::Unsettled => self.find(Kind::NotInLedger, entry.id),
            Some(_) => self.verdict.counts.malformed += 1,
            None if self.is_open(entry) => {}
            None if self.is_before_adoption(entry) => self.verdict.counts.before_adoption += 1,
            None if entry.ledger == Ledger::Unsettled => self.find(Kind::Orphan, entry.id),
            None if self.is_requeued(entry.id) => self.verdict.counts.requeued += 1,
            // The original worker skipped such entries without a trace.
            None if self.has_original_worker() => self.verdict.counts.untold += 1,
            None if self.may_have_lost_letter(entry.id) => {
                self.verdict.counts.untold += 1;
                self.missing.letters += u64::from(self.is_long_settled(entry));
            }
            None => self.find(Kind::NoDeadLetter, entry.id),
        }
    }

    fn answered(&mut self, entry: &Entry, letter: Option<Letter>) {
        let kind = match letter {
            _ if entry.is_other_game => Some(Kind::WrongGame),
            _ if entry.ledger == Ledger::Unsettled => Some(Kind::NotInLedger),
            _ if of_words(entry.said).is_some() => of_words(entry.said),
            Some(letter) if letter.reason != Reason::Answered => Some(Kind::WrongDeadLetter),
            Some(letter) if letter.outcome != entry.outcome => Some(Kind::DeadLetterMismatch),
            Some(_) => None,
            None if !entry.owes_letter || self.is_requeued(entry.id) => None,
            None if self.may_have_lost_letter(entry.id) => {
                self.missing.letters += u64::from(self.is_long_settled(entry));
                None
            }
            None => Some(Kind::NoDeadLetter),
        };
        match (kind, letter) {
            (Some(kind), _) => self.find(kind, entry.id),
            (None, Some(_)) => self.verdict.counts.answered_and_dead += 1,
            (None, None) if entry.owes_letter && self.is_requeued(entry.id) => self.verdict.counts.requeued += 1,
            (None, None) => self.verdict.counts.answered += 1,
        }
    }

    fn unanswered(&mut self, entry: &Entry, letter: Option<Letter>) {
        let may_be_trimmed = self.facts.results.may_have_lost(entry.id.0);
        match letter.map(|letter| letter.reason) {
            Some(Reason::Answered) if self.take_by_game(entry) => self.verdict.counts.answered_and_dead += 1,
            Some(Reason::Answered) if may_be_trimmed => self.outcome_untold(entry),
            Some(Reason::Answered) => self.find(Kind::NoOutcome, entry.id),
            Some(_) => self.find(Kind::WrongDeadLetter, entry.id),
            None if self.is_open(entry) => *self.open.entry(entry.game).or_default() += 1,
            None if self.is_before_adoption(entry) => self.verdict.counts.before_adoption += 1,
            None if self.take_by_game(entry) => self.verdict.counts.answered_by_game += 1,
            None if entry.ledger == Ledger::Unsettled => self.find(Kind::Orphan, entry.id),
            None if may_be_trimmed => self.outcome_untold(entry),
            None => self.find(Kind::NoOutcome, entry.id),
        }
    }

    fn outcome_untold(&mut self, entry: &Entry) {
        self.verdict.counts.untold += 1;
        self.missing.outcomes += u64::from(self.is_long_settled(entry));
    }

    /// Settled before the answers were read: neither pending nor undelivered when that was looked at, which was before.
    fn is_long_settled(&self, entry: &Entry) -> bool {
        entry.ledger == Ledger::Settled
            && entry.id <= self.facts.delivered
            && !self.facts.pending.contains_key(&entry.id)
    }

    fn is_requeued(&self, id: Id) -> bool {
        self.facts.requeued.contains(&id)
    }

    /// Whether the fleet itself may have trimmed the dead letter of this entry.
    fn may_have_lost_letter(&self, id: Id) -> bool {
        let dead = &self.facts.dead;
        dead.may_have_lost(id.0) && !dead.is_only_deleted_from(self.facts.dead_max)
    }

    /// A trim that removed so many explains so many missing answers and no more.
    fn missing(&mut self) {
        // Of the original worker's outcomes it is not known which entries they were for.
        if self.facts.is_by_game || self.has_original_worker() {
            return;
        }
        let kinds = [
            (Kind::OutcomesUnaccounted, self.missing.outcomes, self.facts.results.removed()),
            (Kind::DeadLettersUnaccounted, self.missing.letters, self.facts.dead.removed()),
        ];
        for (kind, missing, removed) in kinds {
            if let Some(removed) = removed.filter(|&removed| missing > removed) {
                let detail = format!("{missing} missing, {removed} removed");
                self.verdict.findings.push(Finding::with(kind, Id::ZERO, detail));
            }
        }
    }

    /// Not due yet: waiting to be delivered, or pending. Counts it.
    fn is_open(&mut self, entry: &Entry) -> bool {
        if entry.ledger == Ledger::Settled {
            return false;
        }
        if let Some(&pending) = self.facts.pending.get(&entry.id) {
            self.pending(entry.id, pending);
            return true;
        }
        let is_undelivered = entry.id > self.facts.delivered;
        self.verdict.counts.undelivered += u64::from(is_undelivered);
        is_undelivered
    }

    fn pending(&mut self, id: Id, pending: Pending) {
        if pending.is_owner_live && pending.idle_ms < self.facts.claim_idle_ms {
            self.verdict.counts.pending_live += 1;
            return;
        }
        let claimable_for = claimable_for(pending, self.facts.claim_idle_ms);
        let counts = &mut self.verdict.counts;
        counts.pending_claimable += 1;
        counts.claimable_for_ms_max = counts.claimable_for_ms_max.max(claimable_for);
        if claimable_for >= self.facts.stuck_after_ms {
            self.find(Kind::Stuck, id);
        }
    }

    fn is_before_adoption(&self, entry: &Entry) -> bool {
        self.adopted_from.is_some_and(|from| entry.id < from)
    }

    fn has_original_worker(&self) -> bool {
        !self.facts.is_by_game && !self.facts.unsourced.is_empty()
    }

    fn take_by_game(&mut self, entry: &Entry) -> bool {
        match self.available.get_mut(&entry.game) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// An id with an outcome or a dead letter, or in the pending list, that is not in the stream.
    fn absent(&mut self, entry: &Entry) {
        let letter = self.facts.letters.get(&entry.id).copied();
        if entry.outcomes > 1 {
            return self.find(Kind::DuplicateOutcome, entry.id);
        }
        if letter.is_some_and(|letter| letter.letters > 1) {
            return self.find(Kind::DuplicateDeadLetter, entry.id);
        }
        if entry.outcomes == 1 {
            return self.absent_outcome(entry, letter);
        }
        match (letter, self.facts.pending.get(&entry.id)) {
            (Some(letter), _) => self.absent_letter(entry, letter),
            (None, Some(&pending)) => self.pending(entry.id, pending),
            (None, None) => {}
        }
    }

    fn absent_outcome(&mut self, entry: &Entry, letter: Option<Letter>) {
        let (jobs, id) = (self.facts.jobs, entry.id);
        let counts = &mut self.verdict.counts;
        match letter.map(|letter| letter.reason) {
            _ if id > self.facts.horizon && id <= jobs.last => counts.newer += 1,
            Some(Reason::Lost) => self.find(Kind::OutcomeForLost, id),
            Some(Reason::Malformed) => self.find(Kind::OutcomeForMalformed, id),
            _ if entry.ledger != Ledger::Unsettled && of_words(entry.said).is_some() => {
                self.verdict.findings.extend(of_words(entry.said).map(|kind| Finding::of(kind, id)));
            }
            _ if jobs.never_had(id) => self.never_had(Kind::OutcomeForUnknown, entry),
            _ if jobs.may_have_cut(id) => counts.trimmed += 1,
            _ => match entry.ledger {
                Ledger::Settled => counts.deleted += 1,
                Ledger::Untold => counts.untold += 1,
                Ledger::Unsettled => self.find(Kind::OutcomeForUnknown, id),
            },
        }
    }

    fn absent_letter(&mut self, entry: &Entry, letter: Letter) {
        let (id, facts) = (entry.id, self.facts);
        let is_unsettled = entry.ledger == Ledger::Unsettled;
        let counts = &mut self.verdict.counts;
        match letter.reason {
            _ if id > facts.horizon && id <= facts.jobs.last => {}
            Reason::Lost if is_unsettled => self.find(Kind::DeadLetterForUnknown, id),
            Reason::Lost => counts.entry_lost += 1,
            _ if facts.jobs.never_had(id) => self.never_had(Kind::DeadLetterForUnknown, entry),
            _ if facts.jobs.may_have_cut(id) => counts.trimmed += 1,
            _ if is_unsettled => self.find(Kind::DeadLetterForUnknown, id),
            Reason::Answered if entry.ledger == Ledger::Settled && !facts.results.may_have_lost(id.0) => {
                self.find(Kind::NoOutcome, id);
            }
            _ => counts.deleted += 1,
        }
    }

    /// An answer for an entry that the surviving history never had. The fleet enters what it answers in the ledger, in
    /// the same step: then the entry was there, and Redis has lost it since.
    fn never_had(&mut self, forged: Kind, entry: &Entry) {
        match entry.ledger {
            Ledger::Unsettled => self.find(forged, entry.id),
            Ledger::Settled | Ledger::Untold => self.verdict.counts.absent_from_history += 1,
        }
    }

    /// Outcomes without `source_ref` beyond the entries of their game.
    fn leftovers(&mut self) {
        let left: u64 = self.available.values().sum();
        self.verdict.counts.unsourced = left;
        let facts = self.facts;
        // Otherwise they may belong to entries that are gone or out of scope.
        if !facts.is_by_game || facts.since > Id::ZERO || facts.jobs.is_cut {
            return;
        }
        for (game, left) in &self.available {
            let may_be_theirs = self.open.get(game).copied().unwrap_or(0) + facts.newer.get(game).copied().unwrap_or(0);
            if *left > may_be_theirs {
                let name = facts.unsourced.get(game).map_or("", |unsourced| unsourced.game.as_str());
                let detail = format!("game {name:?}");
                self.verdict.findings.push(Finding::with(Kind::TooManyOutcomes, Id::ZERO, detail));
            }
        }
    }

    /// What is not about single entries. Of several looks at the mirror the first that shows a violation counts.
    fn moments(&mut self) {
        let mut seen = BTreeSet::new();
        let at_moments = self.facts.moments.iter().flat_map(|moment| moment.judge(self.facts.ledger_from_ms));
        let first: Vec<Finding> = at_moments.filter(|finding| seen.insert(finding.kind)).collect();
        self.verdict.findings.extend(first);
        for &outcome in &self.facts.unreadable_outcomes {
            let detail = format!("outcome {outcome} names no entry");
            self.verdict.findings.push(Finding::with(Kind::OutcomeForUnknown, Id::ZERO, detail));
        }
        for &letter in &self.facts.unreadable_letters {
            let detail = format!("dead letter {letter} names no entry");
            self.verdict.findings.push(Finding::with(Kind::DeadLetterForUnknown, Id::ZERO, detail));
        }
        self.verdict.findings.extend(of_breaches(self.facts));
    }
}

/// What is wrong with the words of an outcome.
fn of_words(said: Said) -> Option<Kind> {
    match said {
        Said::Nothing | Said::Success | Said::Failure => None,
        Said::AnotherWord => Some(Kind::InvalidOutcome),
        Said::SuccessIncomplete => Some(Kind::SuccessIncomplete),
        Said::FailureWithoutCode => Some(Kind::FailureWithoutCode),
    }
}

/// For how long any replica might have claimed it. What was handed back is made to look an hour idle.
fn claimable_for(pending: Pending, claim_idle_ms: u64) -> u64 {
    const HOUR_MS: u64 = 3_600_000;
    let handed_back = pending.idle_ms.checked_sub(HOUR_MS);
    handed_back.unwrap_or_else(|| pending.idle_ms.saturating_sub(claim_idle_ms))
}
