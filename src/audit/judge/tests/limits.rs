//! Where the facts stop telling: trims, deletions, the original worker, a history that lost its end.

use super::*;

fn kinds(facts: &Facts) -> Vec<Kind> {
    judge(facts).findings.into_iter().map(|finding| finding.kind).collect()
}

fn history(fates: Vec<Fate>) -> History {
    History { fates, undelivered: 0, untold: 0 }
}

/// Takes an entry out of the stream; its traces stay.
fn take_out(facts: &mut Facts, id: Id) {
    let at = facts.entries.iter().position(|entry| entry.id == id).expect("it is there");
    let entry = facts.entries.remove(at);
    facts.absent.insert(id, Entry { form: Form::Absent, ..entry });
}

#[test]
fn what_was_trimmed_and_what_the_original_worker_did_is_counted_apart() {
    let history = History { fates: vec![Fate::Answered; 6], undelivered: 0, untold: 0 };
    let mut facts = history.facts();
    // The head of the jobs stream is gone, and so are the first results.
    let gone: Vec<Entry> = facts.entries.drain(..2).collect();
    facts.absent.extend(gone.into_iter().map(|entry| (entry.id, Entry { form: Form::Absent, ..entry })));
    facts.jobs = Ends { first: Some(History::id(2)), is_cut: true, ..facts.jobs };
    facts.results = Ends { first: Some(History::id(3)), is_cut: true, ..facts.results };
    facts.entries[0].outcomes = 0;
    let counts = judge(&facts).counts;
    assert_eq!((counts.trimmed, counts.untold, counts.answered), (2, 1, 3));
    assert_eq!(judge(&facts).findings, []);

    // The original worker answered the first three, and left the second without a trace of its own.
    let mut facts = history.facts();
    for entry in &mut facts.entries[..3] {
        (entry.outcomes, entry.ledger) = (0, Ledger::Unsettled);
    }
    facts.unsourced.insert(1, Unsourced { game: "1".to_owned(), outcomes: 3 });
    let verdict = judge(&facts);
    assert_eq!((verdict.counts.before_adoption, verdict.adopted_from), (3, Some(History::id(3))));
    assert_eq!(verdict.findings, []);
    // The operator says that the fleet answers for all of them.
    facts.is_since_given = true;
    let found: Vec<Kind> = judge(&facts).findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(found, [Kind::Orphan, Kind::Orphan]);
}

#[test]
fn what_was_handed_back_is_not_taken_for_an_hour_old() {
    let history = History { fates: vec![Fate::PendingClaimable], undelivered: 0, untold: 0 };
    let mut facts = history.facts();
    let at = |facts: &mut Facts, idle_ms| facts.pending.values_mut().for_each(|pending| pending.idle_ms = idle_ms);
    at(&mut facts, HOUR_MS + 59_000);
    assert_eq!(judge(&facts).findings, []);
    at(&mut facts, HOUR_MS + 60_000);
    assert_eq!(judge(&facts).findings, [Finding::of(Kind::Stuck, History::id(0))]);
}

#[test]
fn a_pending_entry_alone_shows_where_the_fleet_began() {
    let mut facts = history(vec![Fate::Answered, Fate::PendingLive]).facts();
    (facts.entries[0].outcomes, facts.entries[0].ledger) = (0, Ledger::Unsettled);
    facts.unsourced.insert(99, Unsourced { game: "99".to_owned(), outcomes: 1 });
    let verdict = judge(&facts);
    assert_eq!((verdict.adopted_from, verdict.counts.before_adoption), (Some(History::id(1)), 1));
}

#[test]
fn a_missing_dead_letter_may_be_trimmed_or_never_have_been_due() {
    let mut facts = history(vec![Fate::Malformed, Fate::Answered]).facts();
    facts.letters.clear();
    assert_eq!(kinds(&facts), [Kind::NoDeadLetter]);
    let trimmed = Facts { dead: Ends { first: Some(History::id(1)), is_cut: true, ..facts.dead }, ..facts.clone() };
    assert_eq!((kinds(&trimmed), judge(&trimmed).counts.untold), (vec![], 1));
    // The original worker skipped such entries; this one is not before the fleet's first trace.
    facts.unsourced.insert(99, Unsourced { game: "99".to_owned(), outcomes: 1 });
    assert_eq!((kinds(&facts), judge(&facts).counts.untold), (vec![], 1));
}

#[test]
fn the_oldest_dead_letter_that_was_deleted_is_missing_and_one_that_was_trimmed_is_not() {
    for fate in [Fate::Malformed, Fate::GivenUp] {
        let mut facts = history(vec![fate, Fate::Answered]).facts();
        facts.dead_max = 100;
        facts.letters.clear();
        let first = Some(History::id(1));
        let dead = Ends { first, is_cut: true, added: Some(2), length: 1, deleted: Some(Id(1, 0)), ..facts.dead };
        facts.dead = dead;
        assert_eq!(kinds(&facts), [Kind::NoDeadLetter], "two letters are far from a trim");
        facts.dead = Ends { deleted: Some(Id::ZERO), ..dead };
        assert_eq!(kinds(&facts), [], "an operator trimmed them");
        facts.dead = Ends { added: Some(101), length: 100, ..dead };
        assert_eq!(kinds(&facts), [], "the fleet may have trimmed it");
        facts.dead = Ends { added: Some(101), length: 101, ..dead };
        assert_eq!(kinds(&facts), [Kind::DeadLettersUnaccounted], "nothing was removed");
        facts.dead = dead;
        facts.requeued.insert(History::id(0));
        assert_eq!((kinds(&facts), judge(&facts).counts.requeued), (vec![], 1), "an operator put it back");
    }
}

#[test]
fn a_lost_outcome_behind_a_trim_shows_where_more_are_missing_than_went() {
    let mut facts = history(vec![Fate::Answered; 6]).facts();
    let first = Some(History::id(4));
    for entry in &mut facts.entries[..4] {
        entry.outcomes = 0;
    }
    let results = |added| Ends { first, is_cut: true, added, length: 2, ..facts.results };
    let (exact, short, silent) = (results(Some(6)), results(Some(5)), results(None));
    facts.results = exact;
    assert_eq!((kinds(&facts), judge(&facts).counts.untold), (vec![], 4));
    facts.results = short;
    let found = judge(&facts).findings;
    assert_eq!(found, [Finding::with(Kind::OutcomesUnaccounted, Id::ZERO, "4 missing, 3 removed".to_owned())]);
    facts.results = silent;
    assert_eq!(kinds(&facts), [], "6.2 does not say how many went");
    // What was pending when that was looked at may have been answered after the results were read.
    facts.results = short;
    facts.pending.insert(History::id(0), Pending { idle_ms: 0, is_owner_live: true });
    facts.moments.clear();
    assert_eq!(kinds(&facts), []);
    facts.pending.clear();
    facts.delivered = History::id(2);
    assert_eq!(kinds(&facts), []);
    facts.delivered = History::id(3);
    assert_eq!(kinds(&facts), [Kind::OutcomesUnaccounted]);
    facts.unsourced.insert(99, Unsourced { game: "99".to_owned(), outcomes: 1 });
    assert_eq!(kinds(&facts), [], "the original worker's cannot be matched");
}

#[test]
fn an_outcome_of_an_absent_entry_is_newer_only_above_the_horizon() {
    let mut facts = history(vec![Fate::Answered, Fate::Deleted]).facts();
    assert_eq!(facts.horizon, History::id(1));
    assert_eq!(judge(&facts).counts.deleted, 1);
    facts.horizon = History::id(0);
    let counts = judge(&facts).counts;
    assert_eq!((counts.deleted, counts.newer), (0, 1));
}

#[test]
fn dead_letters_of_trimmed_and_of_deleted_entries_are_told_apart() {
    let mut facts = history(vec![Fate::Malformed, Fate::Answered, Fate::Malformed, Fate::Answered]).facts();
    take_out(&mut facts, History::id(0));
    take_out(&mut facts, History::id(2));
    facts.jobs = Ends { first: Some(History::id(1)), is_cut: true, ..facts.jobs };
    let verdict = judge(&facts);
    assert_eq!((verdict.counts.trimmed, verdict.counts.deleted), (1, 1));
    assert_eq!(verdict.findings, []);
}

#[test]
fn what_the_surviving_history_never_had_is_a_class_of_its_own_and_a_forgery_is_none_of_it() {
    for fate in [Fate::Answered, Fate::GivenUp] {
        let mut facts = history(vec![Fate::Answered, fate, Fate::Answered]).facts();
        take_out(&mut facts, History::id(1));
        let class = |facts: &Facts| (judge(facts).counts.absent_from_history, kinds(facts));
        // A stream that never lost an entry, and one that lost only older ones.
        assert_eq!(class(&facts), (1, vec![]));
        facts.jobs = Ends { is_cut: true, deleted: Some(History::id(0)), ..facts.jobs };
        assert_eq!(class(&facts), (1, vec![]));
        facts.jobs.deleted = Some(History::id(1));
        assert_eq!((class(&facts), judge(&facts).counts.deleted), ((0, vec![]), 1), "it was deleted");
        // Above the end: the stream lost it with its end.
        let above = Id(facts.jobs.last.0 + 5, 0);
        let entry = Entry { id: above, ..facts.absent[&History::id(1)] };
        facts.absent.insert(above, entry);
        assert_eq!(class(&facts), (1, vec![]));
        facts.absent.insert(above, Entry { ledger: Ledger::Unsettled, ..entry });
        assert_eq!(class(&facts), (0, vec![Kind::OutcomeForUnknown]));
    }
    let mut facts = history(vec![Fate::Answered, Fate::Malformed, Fate::Answered]).facts();
    take_out(&mut facts, History::id(1));
    assert_eq!((judge(&facts).counts.absent_from_history, kinds(&facts)), (1, vec![]));
    facts.entry_mut(History::id(1)).ledger = Ledger::Unsettled;
    assert_eq!(kinds(&facts), [Kind::DeadLetterForUnknown]);
}

#[test]
fn what_an_outcome_says_wrongly_is_found_where_its_entry_is_gone_too() {
    let mut facts = history(vec![Fate::Answered, Fate::Deleted]).facts();
    facts.entry_mut(History::id(1)).said = Said::SuccessIncomplete;
    assert_eq!(judge(&facts).findings, [Finding::of(Kind::SuccessIncomplete, History::id(1))]);
}
