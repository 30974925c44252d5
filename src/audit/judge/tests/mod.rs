//! Random correct histories have no finding; with one thing wrong in them they have exactly that finding.

// where the facts stop telling
mod limits;

use proptest::prelude::*;

use super::super::ends::Ends;
use super::super::facts::Unsourced;
use super::super::moment::Moment;
use super::*;

const GAMES: u64 = 5;
const HOUR_MS: u64 = 3_600_000;

/// What became of one entry in a correct history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// Poison, or a spent budget: answered, and a dead letter.
    GivenUp,
    Malformed,
    /// Its payload was deleted while it was pending.
    Lost,
    /// Answered, and its payload deleted since.
    Deleted,
    PendingLive,
    PendingClaimable,
    /// Settled, delivered again because the group was lost, and not yet acknowledged again.
    PendingSettled,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Answered),
        2 => Just(Fate::GivenUp),
        2 => Just(Fate::Malformed),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Deleted),
        1 => Just(Fate::PendingLive),
        1 => Just(Fate::PendingClaimable),
        1 => Just(Fate::PendingSettled),
    ]
}

/// A correct history: delivered entries, some more that are not delivered, and how much older than the ledger the
/// first of them are.
#[derive(Debug, Clone)]
struct History {
    fates: Vec<Fate>,
    undelivered: u64,
    untold: usize,
}

fn history() -> impl Strategy<Value = History> {
    (proptest::collection::vec(fate(), 0..40), 0..4_u64, 0..10_usize).prop_map(|(fates, undelivered, untold)| History {
        fates,
        undelivered,
        untold,
    })
}

impl History {
    fn id(at: usize) -> Id {
        Id(HOUR_MS + 10 * (at as u64 + 1), at as u64 % 2)
    }

    fn facts(&self) -> Facts {
        let count = self.fates.len();
        let mut facts = Facts { claim_idle_ms: 5_000, stuck_after_ms: 60_000, ..Facts::default() };
        let is_untold = |at: usize| at < self.untold;
        facts.ledger_from_ms = Self::id(self.untold.min(count)).0;
        for (at, fate) in self.fates.iter().enumerate() {
            Self::add(&mut facts, at, *fate, is_untold(at));
        }
        facts.delivered = if count == 0 { Id::ZERO } else { Self::id(count - 1) };
        for more in 0..self.undelivered {
            let at = count + usize::try_from(more).expect("few");
            let mut entry = Entry::new(Self::id(at), Form::Job, 1);
            entry.ledger = Ledger::Unsettled;
            facts.entries.push(entry);
        }
        let last = facts.entries.last().map_or(facts.delivered, |entry| entry.id.max(facts.delivered));
        facts.horizon = last;
        let is_cut = self.fates.iter().any(|fate| matches!(fate, Fate::Lost | Fate::Deleted));
        facts.jobs = Ends { first: facts.entries.first().map(|entry| entry.id), last, is_cut, ..Ends::default() };
        let answers = |facts: &Facts| Ends { last: Id(9 * HOUR_MS, facts.entries.len() as u64), ..Ends::default() };
        facts.results = answers(&facts);
        facts.dead = answers(&facts);
        facts.moments.push(moment_of(&facts));
        facts
    }

    fn add(facts: &mut Facts, at: usize, fate: Fate, is_untold: bool) {
        let id = Self::id(at);
        let outcome = Id(2 * HOUR_MS + at as u64, 0);
        let form = match fate {
            Fate::Malformed => Form::Malformed,
            Fate::Lost | Fate::Deleted => Form::Absent,
            _ => Form::Job,
        };
        let mut entry = Entry::new(id, form, 1 + at as u64 % GAMES);
        let is_pending = matches!(fate, Fate::PendingLive | Fate::PendingClaimable);
        entry.ledger = match (is_untold, is_pending) {
            (true, _) => Ledger::Untold,
            (false, true) => Ledger::Unsettled,
            (false, false) => Ledger::Settled,
        };
        if matches!(fate, Fate::Answered | Fate::GivenUp | Fate::Deleted | Fate::PendingSettled) {
            entry.outcomes = 1;
            entry.outcome = outcome;
            entry.owes_letter = fate == Fate::GivenUp;
        }
        let letter = |reason, outcome| Letter { reason, outcome, letters: 1 };
        match fate {
            Fate::GivenUp => drop(facts.letters.insert(id, letter(Reason::Answered, outcome))),
            Fate::Malformed => drop(facts.letters.insert(id, letter(Reason::Malformed, Id::ZERO))),
            Fate::Lost => drop(facts.letters.insert(id, letter(Reason::Lost, Id::ZERO))),
            Fate::PendingLive => drop(facts.pending.insert(id, Pending { idle_ms: 900, is_owner_live: true })),
            Fate::PendingClaimable | Fate::PendingSettled => {
                facts.pending.insert(id, Pending { idle_ms: 9_000, is_owner_live: false });
            }
            Fate::Answered | Fate::Deleted => {}
        }
        if form == Form::Absent {
            facts.absent.insert(id, entry);
        } else {
            facts.entries.push(entry);
        }
    }

    /// One of the delivered entries with one of these fates; none where there is no such.
    fn pick(&self, which: usize, fates: &[Fate]) -> Option<Id> {
        let found: Vec<usize> = (0..self.fates.len()).filter(|&at| fates.contains(&self.fates[at])).collect();
        (!found.is_empty()).then(|| Self::id(found[which % found.len()]))
    }
}

/// The mirror as the worker keeps it for these facts.
fn moment_of(facts: &Facts) -> Moment {
    let open = |id: &&Id| {
        facts.entries.iter().any(|entry| entry.id == **id && entry.ledger != Ledger::Settled && entry.outcomes == 0)
    };
    let oldest_unsettled = facts.pending.keys().find(open).copied();
    let first_undelivered = facts.entries.iter().map(|entry| entry.id).find(|&id| id > facts.delivered);
    let oldest_pending = facts.pending.keys().next().copied();
    let below = |id: Id| facts.entries.iter().map(|entry| entry.id).rfind(|&other| other < id).unwrap_or_default();
    let mirror = oldest_pending.map_or(facts.delivered, below).to_string();
    Moment {
        now_ms: 0,
        has_group: true,
        delivered: facts.delivered,
        mirror: Some(mirror.clone()),
        shadow: Some(mirror),
        verified: Some(oldest_pending.map_or(facts.delivered, below)),
        oldest_pending,
        oldest_unsettled,
        first_undelivered,
        jobs: facts.jobs,
        results: facts.results,
        dead: facts.dead,
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    OutcomeDropped,
    OutcomeTwice,
    OutcomeForMalformed,
    OutcomeForLost,
    OutcomeForged,
    OutcomeBeyondTheEnd,
    OutcomeOfAnotherGame,
    AcknowledgedFirst,
    LetterDropped,
    LetterTwice,
    LetterOfAnotherReason,
    LetterOfAnotherOutcome,
    LetterForged,
    NotInLedger,
    Stuck,
    MirrorRaised,
    MirrorLeftBehind,
    ShadowMoved,
    VerifiedRaised,
    TwoContainers,
    OutcomeOfAnotherWord,
    SuccessWithoutItsFields,
    FailureWithoutItsCode,
}

const WRONGS: [Wrong; 23] = [
    Wrong::OutcomeDropped,
    Wrong::OutcomeTwice,
    Wrong::OutcomeForMalformed,
    Wrong::OutcomeForLost,
    Wrong::OutcomeForged,
    Wrong::OutcomeBeyondTheEnd,
    Wrong::OutcomeOfAnotherGame,
    Wrong::AcknowledgedFirst,
    Wrong::LetterDropped,
    Wrong::LetterTwice,
    Wrong::LetterOfAnotherReason,
    Wrong::LetterOfAnotherOutcome,
    Wrong::LetterForged,
    Wrong::NotInLedger,
    Wrong::Stuck,
    Wrong::MirrorRaised,
    Wrong::MirrorLeftBehind,
    Wrong::ShadowMoved,
    Wrong::VerifiedRaised,
    Wrong::TwoContainers,
    Wrong::OutcomeOfAnotherWord,
    Wrong::SuccessWithoutItsFields,
    Wrong::FailureWithoutItsCode,
];

/// Does it to the facts, and answers what must be found; nothing where the history has no place for it.
#[expect(clippy::too_many_lines, reason = "one arm for each thing that may be wrong")]
fn spoil(facts: &mut Facts, history: &History, wrong: Wrong, which: usize) -> Option<(Kind, Id)> {
    let pick = |fates: &[Fate]| history.pick(which, fates);
    let young = |facts: &Facts, id: Id| id.0 >= facts.ledger_from_ms;
    let forged = |facts: &Facts| {
        let id = Id(facts.entries.first()?.id.0 + 5, 7);
        (id < facts.horizon && young(facts, id)).then_some(id)
    };
    Some(match wrong {
        Wrong::OutcomeDropped => {
            let id = pick(&[Fate::Answered, Fate::GivenUp, Fate::PendingSettled])?;
            let entry = facts.entry_mut(id);
            // A pending entry of which the ledger cannot tell is simply open.
            if entry.ledger == Ledger::Untold && facts.pending.contains_key(&id) {
                return None;
            }
            facts.entry_mut(id).outcomes = 0;
            (Kind::NoOutcome, id)
        }
        Wrong::OutcomeTwice => {
            let id = pick(&[Fate::Answered, Fate::GivenUp, Fate::Deleted, Fate::PendingSettled])?;
            facts.entry_mut(id).outcomes += 1;
            (Kind::DuplicateOutcome, id)
        }
        Wrong::OutcomeForMalformed | Wrong::OutcomeForLost => {
            let (fate, kind) = match wrong {
                Wrong::OutcomeForLost => (Fate::Lost, Kind::OutcomeForLost),
                _ => (Fate::Malformed, Kind::OutcomeForMalformed),
            };
            let id = pick(&[fate])?;
            facts.entry_mut(id).outcomes = 1;
            (kind, id)
        }
        Wrong::OutcomeForged => {
            let id = forged(facts)?;
            let entry = facts.entry_mut(id);
            (entry.outcomes, entry.ledger) = (1, Ledger::Unsettled);
            (Kind::OutcomeForUnknown, id)
        }
        Wrong::OutcomeBeyondTheEnd => {
            let id = Id(facts.horizon.0.max(facts.ledger_from_ms) + 1, 0);
            let entry = facts.entry_mut(id);
            (entry.outcomes, entry.ledger) = (1, Ledger::Unsettled);
            (Kind::OutcomeForUnknown, id)
        }
        Wrong::OutcomeOfAnotherGame => {
            let id = pick(&[Fate::Answered, Fate::GivenUp])?;
            facts.entry_mut(id).is_other_game = true;
            (Kind::WrongGame, id)
        }
        Wrong::OutcomeOfAnotherWord | Wrong::SuccessWithoutItsFields | Wrong::FailureWithoutItsCode => {
            let (said, kind) = match wrong {
                Wrong::OutcomeOfAnotherWord => (Said::AnotherWord, Kind::InvalidOutcome),
                Wrong::SuccessWithoutItsFields => (Said::SuccessIncomplete, Kind::SuccessIncomplete),
                _ => (Said::FailureWithoutCode, Kind::FailureWithoutCode),
            };
            let id = pick(&[Fate::Answered, Fate::GivenUp, Fate::Deleted])?;
            facts.entry_mut(id).said = said;
            (kind, id)
        }
        Wrong::AcknowledgedFirst => {
            let id = pick(&[Fate::PendingLive, Fate::PendingClaimable])?;
            if !young(facts, id) {
                return None;
            }
            facts.pending.remove(&id);
            // The settlement that follows moves the mirror past it.
            facts.moments = vec![moment_of(facts)];
            (Kind::Orphan, id)
        }
        Wrong::LetterDropped => {
            let id = pick(&[Fate::GivenUp, Fate::Malformed])?;
            facts.letters.remove(&id);
            (Kind::NoDeadLetter, id)
        }
        Wrong::LetterTwice => {
            let id = pick(&[Fate::GivenUp, Fate::Malformed, Fate::Lost])?;
            facts.letters.get_mut(&id)?.letters += 1;
            (Kind::DuplicateDeadLetter, id)
        }
        Wrong::LetterOfAnotherReason => {
            let id = pick(&[Fate::GivenUp, Fate::Malformed])?;
            facts.letters.get_mut(&id)?.reason = Reason::Lost;
            (Kind::WrongDeadLetter, id)
        }
        Wrong::LetterOfAnotherOutcome => {
            let id = pick(&[Fate::GivenUp])?;
            facts.letters.get_mut(&id)?.outcome = Id(1, 1);
            (Kind::DeadLetterMismatch, id)
        }
        Wrong::LetterForged => {
            let id = forged(facts)?;
            facts.entry_mut(id).ledger = Ledger::Unsettled;
            facts.letters.insert(id, Letter { reason: Reason::Malformed, outcome: Id::ZERO, letters: 1 });
            (Kind::DeadLetterForUnknown, id)
        }
        Wrong::NotInLedger => {
            let id = pick(&[Fate::Answered, Fate::GivenUp, Fate::Malformed])?;
            if !young(facts, id) {
                return None;
            }
            facts.entry_mut(id).ledger = Ledger::Unsettled;
            (Kind::NotInLedger, id)
        }
        Wrong::Stuck => {
            let id = pick(&[Fate::PendingLive, Fate::PendingClaimable])?;
            facts.pending.get_mut(&id)?.idle_ms = 66_000;
            (Kind::Stuck, id)
        }
        Wrong::MirrorRaised => {
            let open = facts.moments[0].oldest_open()?;
            set_mirror(facts, open);
            (Kind::MirrorAhead, open)
        }
        Wrong::MirrorLeftBehind => {
            if !facts.moments[0].is_at_rest() || facts.delivered == Id::ZERO {
                return None;
            }
            set_mirror(facts, Id(1, 0));
            (Kind::MirrorBehind, Id::ZERO)
        }
        Wrong::ShadowMoved => {
            facts.moments[0].shadow = Some("1-0".to_owned());
            (Kind::ShadowDiffers, Id::ZERO)
        }
        Wrong::VerifiedRaised => {
            let open = facts.moments[0].oldest_unsettled?;
            if !young(facts, open) {
                return None;
            }
            facts.moments[0].verified = Some(open);
            (Kind::VerifiedAhead, open)
        }
        Wrong::TwoContainers => {
            facts.breaches.push(Breach { game: "g".to_owned(), live: 2, at: Id(1, 0) });
            (Kind::TwoContainers, Id::ZERO)
        }
    })
}

fn set_mirror(facts: &mut Facts, id: Id) {
    let text = Some(id.to_string());
    (facts.moments[0].mirror, facts.moments[0].shadow) = (text.clone(), text);
}

/// Lets every outcome lose its `source_ref`, as `outcome-fields=original` publishes it.
fn without_sources(facts: &mut Facts) {
    facts.is_by_game = true;
    let mut unsourced: HashMap<u64, Unsourced> = HashMap::new();
    let mut take = |entry: &mut Entry| {
        if entry.outcomes > 0 {
            let game = entry.game.to_string();
            unsourced.entry(entry.game).or_insert(Unsourced { game, outcomes: 0 }).outcomes +=
                u64::from(entry.outcomes);
        }
        (entry.outcomes, entry.outcome, entry.owes_letter) = (0, Id::ZERO, false);
    };
    facts.entries.iter_mut().for_each(&mut take);
    facts.unsourced = unsourced;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_correct_history_has_no_finding_and_every_entry_is_counted_once(history in history()) {
        let verdict = judge(&history.facts());
        prop_assert_eq!(&verdict.findings, &[]);
        let counts = verdict.counts;
        let count = |fates: &[Fate]| history.fates.iter().filter(|fate| fates.contains(fate)).count() as u64;
        prop_assert_eq!(counts.answered, count(&[Fate::Answered, Fate::PendingSettled]));
        prop_assert_eq!(counts.answered_and_dead, count(&[Fate::GivenUp]));
        prop_assert_eq!(counts.malformed, count(&[Fate::Malformed]));
        prop_assert_eq!(counts.entry_lost, count(&[Fate::Lost]));
        prop_assert_eq!(counts.deleted + counts.trimmed + counts.untold, count(&[Fate::Deleted]));
        prop_assert_eq!(counts.pending_live, count(&[Fate::PendingLive]));
        prop_assert_eq!(counts.pending_claimable, count(&[Fate::PendingClaimable]));
        prop_assert_eq!(counts.undelivered, history.undelivered);
    }

    #[test]
    fn one_thing_wrong_is_exactly_that_finding(history in history(), wrong in proptest::sample::select(&WRONGS[..]), which in any::<usize>()) {
        let mut facts = history.facts();
        if let Some((kind, id)) = spoil(&mut facts, &history, wrong, which) {
            let found: Vec<(Kind, Id)> = judge(&facts).findings.into_iter().map(|finding| (finding.kind, finding.entry)).collect();
            prop_assert_eq!(found, vec![(kind, id)], "{:?}", wrong);
        }
    }

    #[test]
    fn without_source_refs_a_missing_and_a_further_outcome_are_seen_by_game(history in history(), which in any::<usize>()) {
        // Without correlation an outcome of a deleted entry cannot be told from one too many.
        let fates = history.fates.iter().copied().filter(|fate| !matches!(fate, Fate::Deleted | Fate::Lost)).collect();
        let history = History { fates, ..history };
        let mut facts = history.facts();
        without_sources(&mut facts);
        let is_answered = |entry: &&Entry| entry.ledger == Ledger::Settled && entry.form == Form::Job;
        let none_open = facts.pending.is_empty() && history.undelivered == 0;
        prop_assert_eq!(&judge(&facts).findings, &[]);

        let games: Vec<u64> = facts.entries.iter().filter(is_answered).map(|entry| entry.game).collect();
        if !games.is_empty() && none_open {
            let game = games[which % games.len()];
            let mut missing = facts.clone();
            missing.unsourced.get_mut(&game).expect("answered").outcomes -= 1;
            let kinds: Vec<Kind> = judge(&missing).findings.iter().map(|finding| finding.kind).collect();
            prop_assert_eq!(kinds, vec![Kind::NoOutcome]);
            let mut further = facts.clone();
            further.unsourced.get_mut(&game).expect("answered").outcomes += 1;
            let kinds: Vec<Kind> = judge(&further).findings.iter().map(|finding| finding.kind).collect();
            prop_assert_eq!(kinds, vec![Kind::TooManyOutcomes]);
        }
    }
}

#[test]
fn every_way_to_be_wrong_is_tried_by_some_history() {
    let fates = vec![
        Fate::Answered,
        Fate::GivenUp,
        Fate::Malformed,
        Fate::Lost,
        Fate::Deleted,
        Fate::PendingLive,
        Fate::PendingClaimable,
        Fate::PendingSettled,
    ];
    let busy = History { fates, undelivered: 1, untold: 0 };
    let at_rest = History { fates: vec![Fate::Answered, Fate::Malformed], undelivered: 0, untold: 0 };
    for wrong in WRONGS {
        let tried = [&busy, &at_rest].into_iter().any(|history| {
            let mut facts = history.facts();
            spoil(&mut facts, history, wrong, 0).is_some()
        });
        assert!(tried, "{wrong:?}");
    }
}
