//! Where a stream begins and ends, and what that says of entries that are not in it.

use super::id::Id;

/// The ends of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ends {
    /// The first entry that is there.
    pub(crate) first: Option<Id>,
    /// The last id ever given.
    pub(crate) last: Id,
    /// Entries may have been removed from it.
    pub(crate) is_cut: bool,
    /// Entries ever appended; none where the server does not say.
    pub(crate) added: Option<u64>,
    /// Entries that are there.
    pub(crate) length: u64,
    /// The highest id that was deleted by XDEL, [`Id::ZERO`] where none was; none where the server does not say. A trim
    /// does not count.
    pub(crate) deleted: Option<Id>,
}

impl Ends {
    /// Whether an entry that was appended at `ms` or later may have been removed from the front.
    pub(crate) fn may_have_lost(&self, ms: u64) -> bool {
        self.is_cut && self.first.is_none_or(|first| ms < first.0)
    }

    /// How many entries were removed from it, by a trim or by XDEL; none where the server does not say.
    pub(crate) fn removed(&self) -> Option<u64> {
        self.added.map(|added| added.saturating_sub(self.length))
    }

    /// Whether entries were deleted from it one by one, and no trim to this many entries can have removed any.
    pub(crate) fn is_only_deleted_from(&self, trimmed_to: u64) -> bool {
        self.deleted.is_some_and(|deleted| deleted > Id::ZERO) && self.added.is_some_and(|added| added <= trimmed_to)
    }

    /// Whether an entry of this id that is not in the stream never was in it, as far as the history that is left tells:
    /// it is above the end, or above everything that was ever trimmed or deleted.
    pub(crate) fn never_had(&self, id: Id) -> bool {
        let is_above_what_went = !self.is_cut || self.deleted.is_some_and(|deleted| id > deleted);
        id > self.last || (is_above_what_went && self.first.is_some_and(|first| id > first))
    }

    /// Whether the entry of this id may have been removed from the front.
    pub(crate) fn may_have_cut(&self, id: Id) -> bool {
        self.is_cut && self.first.is_none_or(|first| id < first)
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
