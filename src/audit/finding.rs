//! What may be wrong, by name. The names are stable: people script against them.

use super::id::Id;

/// A kind of violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A job was settled, and there is no outcome.
    NoOutcome,
    /// Delivered, and neither pending nor answered nor in the ledger.
    Orphan,
    /// More than one outcome.
    DuplicateOutcome,
    /// An outcome for an entry that is no job.
    OutcomeForMalformed,
    /// An outcome for an entry whose payload was lost.
    OutcomeForLost,
    /// An outcome that names an entry that never was.
    OutcomeForUnknown,
    /// An outcome without `source_ref` beyond the entries of its game.
    TooManyOutcomes,
    /// An outcome that names another game than its entry.
    WrongGame,
    /// Settled in a way that owes a dead letter, and there is none.
    NoDeadLetter,
    /// More than one dead letter.
    DuplicateDeadLetter,
    /// A dead letter whose reason cannot be.
    WrongDeadLetter,
    /// A dead letter that names another outcome than the entry's.
    DeadLetterMismatch,
    /// A dead letter for an entry that never was.
    DeadLetterForUnknown,
    /// Answered, and the ledger does not know: a lost group would answer it again.
    NotInLedger,
    /// Pending, and no replica has worked on it for longer than `--stuck-after`.
    Stuck,
    /// The mirror is at or past an entry without answer.
    MirrorAhead,
    /// At rest, and the mirror is before the last entry.
    MirrorBehind,
    /// The mirror's shadow differs from it.
    ShadowDiffers,
    /// `verified` is at or past an entry without answer.
    VerifiedAhead,
    /// A game had more than one live container.
    TwoContainers,
    /// More outcomes are missing than a trim can have removed.
    OutcomesUnaccounted,
    /// An outcome that is neither a success nor a failure.
    InvalidOutcome,
    /// A success whose container or endpoint is empty.
    SuccessIncomplete,
    /// A failure whose code is empty.
    FailureWithoutCode,
    /// A success whose container was never started.
    SuccessWithoutContainer,
    /// A failure whose own container runs.
    FailureWithContainer,
    /// A record says that its game runs and its container does not, or the other way round.
    RecordDiffers,
    /// More dead letters are missing than were ever removed.
    DeadLettersUnaccounted,
}

impl Kind {
    /// The name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoOutcome => "no_outcome",
            Self::Orphan => "orphan",
            Self::DuplicateOutcome => "duplicate_outcome",
            Self::OutcomeForMalformed => "outcome_for_malformed",
            Self::OutcomeForLost => "outcome_for_lost",
            Self::OutcomeForUnknown => "outcome_for_unknown",
            Self::TooManyOutcomes => "too_many_outcomes",
            Self::WrongGame => "wrong_game",
            Self::NoDeadLetter => "no_dead_letter",
            Self::DuplicateDeadLetter => "duplicate_dead_letter",
            Self::WrongDeadLetter => "wrong_dead_letter",
            Self::DeadLetterMismatch => "dead_letter_mismatch",
            Self::DeadLetterForUnknown => "dead_letter_for_unknown",
            Self::NotInLedger => "not_in_ledger",
            Self::Stuck => "stuck",
            Self::MirrorAhead => "mirror_ahead",
            Self::MirrorBehind => "mirror_behind",
            Self::ShadowDiffers => "shadow_differs",
            Self::VerifiedAhead => "verified_ahead",
            Self::TwoContainers => "two_containers",
            Self::OutcomesUnaccounted => "outcomes_unaccounted",
            Self::InvalidOutcome => "invalid_outcome",
            Self::SuccessIncomplete => "success_incomplete",
            Self::FailureWithoutCode => "failure_without_code",
            Self::SuccessWithoutContainer => "success_without_container",
            Self::FailureWithContainer => "failure_with_container",
            Self::RecordDiffers => "record_differs",
            Self::DeadLettersUnaccounted => "dead_letters_unaccounted",
        }
    }

    /// What it means, for people.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::NoOutcome => "settled, and no outcome was published",
            Self::Orphan => "delivered, but neither pending nor answered nor in the ledger: no replica will answer it",
            Self::DuplicateOutcome => "answered more than once",
            Self::OutcomeForMalformed => "not a job, but answered",
            Self::OutcomeForLost => "given up as lost, but answered",
            Self::OutcomeForUnknown => "an outcome for an entry that never existed",
            Self::TooManyOutcomes => "more outcomes than entries of this game",
            Self::WrongGame => "the outcome names another game than the entry",
            Self::NoDeadLetter => "settled, but its dead letter is missing",
            Self::DuplicateDeadLetter => "more than one dead letter",
            Self::WrongDeadLetter => "the reason of its dead letter is impossible",
            Self::DeadLetterMismatch => "its dead letter names another outcome",
            Self::DeadLetterForUnknown => "a dead letter for an entry that never existed",
            Self::NotInLedger => "answered, but not in the ledger: a lost group would answer it again",
            Self::Stuck => "pending, but no replica works on it",
            Self::MirrorAhead => "the mirror is at or past an entry without answer",
            Self::MirrorBehind => "at rest, and the mirror is not at the last delivered entry",
            Self::ShadowDiffers => "the shadow differs from the mirror: another program moved the mirror",
            Self::VerifiedAhead => "verified is at or past an entry without answer",
            Self::TwoContainers => "the game had more than one live container",
            Self::OutcomesUnaccounted => {
                "more outcomes are missing than were ever removed from the results: trimming does not explain it"
            }
            Self::InvalidOutcome => "the outcome is neither success nor failure",
            Self::SuccessIncomplete => "a success without its container or without its endpoint",
            Self::FailureWithoutCode => "a failure without an error code",
            Self::SuccessWithoutContainer => "a success, but its container was never started",
            Self::FailureWithContainer => "a failure, but the container of this job runs",
            Self::RecordDiffers => "for 10 seconds its game's record and its container have said different things",
            Self::DeadLettersUnaccounted => {
                "more dead letters are missing than were ever removed: trimming does not explain it"
            }
        }
    }

    /// True where what was seen once cannot be undone or was seen in one atomic look: no second look is needed.
    pub(crate) fn is_certain(self) -> bool {
        matches!(
            self,
            Self::DuplicateOutcome
                | Self::OutcomeForMalformed
                | Self::WrongGame
                | Self::DuplicateDeadLetter
                | Self::MirrorAhead
                | Self::MirrorBehind
                | Self::ShadowDiffers
                | Self::VerifiedAhead
                | Self::OutcomesUnaccounted
                | Self::DeadLettersUnaccounted
                | Self::InvalidOutcome
                | Self::SuccessIncomplete
                | Self::FailureWithoutCode
        )
    }
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Finding {
    /// Which rule is violated.
    pub(crate) kind: Kind,
    /// The entry; [`Id::ZERO`] where it is not about one.
    pub(crate) entry: Id,
    /// Particulars, short; empty for most, so that a million findings cost little.
    pub(crate) detail: Box<str>,
}

impl Finding {
    /// A finding about an entry.
    pub(crate) fn of(kind: Kind, entry: Id) -> Self {
        Self { kind, entry, detail: Box::default() }
    }

    /// A finding with particulars.
    pub(crate) fn with(kind: Kind, entry: Id, detail: String) -> Self {
        Self { kind, entry, detail: detail.into_boxed_str() }
    }
}
