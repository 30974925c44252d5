//! One atomic look at the mirror, and what must be true of it at any moment.

use super::ends::Ends;
use super::finding::{Finding, Kind};
use super::id::Id;

/// The script of the look.
pub(crate) const SCRIPT: &str = include_str!("moment.lua");
/// What the script answers first where it needs buckets of the ledger that were not named to it; their hours follow.
const NEED_KEYS: &str = "NEEDKEYS";

/// What one look saw. All of it is of one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moment {
    /// The server's clock.
    pub(crate) now_ms: u64,
    /// There is a group.
    pub(crate) has_group: bool,
    /// The group's last-delivered id.
    pub(crate) delivered: Id,
    /// The value of the mirror; none: unset.
    pub(crate) mirror: Option<String>,
    /// Its shadow.
    pub(crate) shadow: Option<String>,
    /// The janitor's `verified`.
    pub(crate) verified: Option<Id>,
    /// The oldest pending entry.
    pub(crate) oldest_pending: Option<Id>,
    /// The oldest pending entry that is not settled.
    pub(crate) oldest_unsettled: Option<Id>,
    /// The first entry that was not delivered yet.
    pub(crate) first_undelivered: Option<Id>,
    /// The jobs stream.
    pub(crate) jobs: Ends,
    /// The results stream.
    pub(crate) results: Ends,
    /// The dead-letter stream.
    pub(crate) dead: Ends,
}

impl Moment {
    /// The hours whose buckets of the ledger the script needs named before it can answer; none where it has answered.
    pub(crate) fn hours_needed(words: &[String]) -> Option<&[String]> {
        words.split_first().filter(|(first, _)| *first == NEED_KEYS).map(|(_, hours)| hours)
    }

    /// Reads the script's answer.
    pub(crate) fn read(words: &[String]) -> Option<Self> {
        let id = |at: usize| words.get(at).and_then(|word| Id::parse(word));
        let text = |at: usize| words.get(at).filter(|word| !word.is_empty()).cloned();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        let ends = |at: usize| {
            let (added, length) = (number(at + 2), number(at + 3)?);
            let is_cut = added.is_none_or(|added| added > length);
            Some(Ends { first: id(at), last: id(at + 1)?, is_cut, added, length, deleted: id(at + 4) })
        };
        Some(Self {
            now_ms: words.first()?.parse().ok()?,
            has_group: words.get(1)? == "1",
            delivered: id(2).unwrap_or_default(),
            mirror: text(3),
            shadow: text(4),
            verified: id(5),
            oldest_pending: id(6),
            oldest_unsettled: id(7),
            first_undelivered: id(8),
            jobs: ends(9)?,
            results: ends(14)?,
            dead: ends(19)?,
        })
    }

    /// Nothing is pending and nothing waits to be delivered.
    pub fn is_at_rest(&self) -> bool {
        self.has_group && self.oldest_pending.is_none() && self.first_undelivered.is_none()
    }

    /// The mirror as an id; none where it is unset or no id.
    pub(crate) fn mirror_id(&self) -> Option<Id> {
        self.mirror.as_deref().and_then(Id::parse)
    }

    /// The oldest entry without an answer, as far as the group knows: pending, or not yet delivered.
    pub(crate) fn oldest_open(&self) -> Option<Id> {
        self.oldest_unsettled.into_iter().chain(self.first_undelivered).min()
    }

    /// What is wrong at this moment.
    pub(crate) fn judge(&self, ledger_from_ms: u64) -> Vec<Finding> {
        let mut found = Vec::new();
        if !self.has_group {
            return found;
        }
        let held = || self.mirror.as_deref().unwrap_or("unset");
        if self.mirror != self.shadow {
            let shadow = self.shadow.as_deref().unwrap_or("unset");
            let detail = format!("mirror {}, shadow {shadow}", held());
            found.push(Finding::with(Kind::ShadowDiffers, Id::ZERO, detail));
        }
        match (self.mirror_id(), self.oldest_open()) {
            (Some(mirror), Some(open)) if mirror >= open => {
                found.push(Finding::with(Kind::MirrorAhead, open, format!("mirror {mirror}")));
            }
            (Some(mirror), _) if mirror > self.jobs.last || (self.is_at_rest() && mirror > self.delivered) => {
                let detail = format!("mirror {mirror}, last delivered {}", self.delivered);
                found.push(Finding::with(Kind::MirrorAhead, Id::ZERO, detail));
            }
            (mirror, _) if self.is_at_rest() && mirror.unwrap_or_default() < self.delivered => {
                let detail = format!("mirror {}, last delivered {}", held(), self.delivered);
                found.push(Finding::with(Kind::MirrorBehind, Id::ZERO, detail));
            }
            _ => {}
        }
        // An entry older than the ledger is put back behind `verified` on purpose.
        if let (Some(verified), Some(open)) = (self.verified, self.oldest_unsettled.filter(|id| id.0 >= ledger_from_ms))
            && verified >= open
        {
            found.push(Finding::with(Kind::VerifiedAhead, open, format!("verified {verified}")));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(mirror: &str, has_group: &str) -> Vec<String> {
        let streams = ["1-0", "9-0", "7", "4", "3-0", "", "0-0", "0", "0", "0-0", "5-0", "6-0", "", "2", ""];
        let own = ["1700000000000", has_group, "9-0", mirror, "8-0", "7-0", "6-0", "5-0", "4-0"];
        own.into_iter().chain(streams).map(str::to_owned).collect()
    }

    #[test]
    fn a_look_is_read_word_by_word() {
        let moment = Moment::read(&words("8-1", "1")).expect("a look");
        assert_eq!((moment.now_ms, moment.has_group, moment.delivered), (1_700_000_000_000, true, Id(9, 0)));
        assert_eq!((moment.mirror.as_deref(), moment.shadow.as_deref()), (Some("8-1"), Some("8-0")));
        assert_eq!((moment.verified, moment.oldest_pending), (Some(Id(7, 0)), Some(Id(6, 0))));
        assert_eq!((moment.oldest_unsettled, moment.first_undelivered), (Some(Id(5, 0)), Some(Id(4, 0))));
        let jobs = Ends {
            first: Some(Id(1, 0)),
            last: Id(9, 0),
            is_cut: true,
            added: Some(7),
            length: 4,
            deleted: Some(Id(3, 0)),
        };
        assert_eq!(moment.jobs, jobs);
        assert_eq!(moment.results, Ends { added: Some(0), deleted: Some(Id::ZERO), ..Ends::default() });
        // A server before 7.0: it may have lost entries.
        let dead = Ends { first: Some(Id(5, 0)), last: Id(6, 0), is_cut: true, length: 2, ..Ends::default() };
        assert_eq!(moment.dead, dead);

        let unset = Moment::read(&words("", "0")).expect("a look");
        assert_eq!((unset.mirror, unset.has_group), (None, false));
        assert_eq!(Moment::read(&words("8-1", "1")[..20]), None);

        let needs = ["NEEDKEYS", "3", "4"].map(str::to_owned);
        assert_eq!(Moment::hours_needed(&needs), Some(&needs[1..]));
        assert_eq!(Moment::hours_needed(&words("8-1", "1")), None);
    }

    fn at_work() -> Moment {
        let mirror = Some("4-0".to_owned());
        Moment {
            has_group: true,
            delivered: Id(9, 0),
            shadow: mirror.clone(),
            mirror,
            oldest_pending: Some(Id(5, 0)),
            oldest_unsettled: Some(Id(5, 0)),
            first_undelivered: Some(Id(10, 0)),
            jobs: Ends { first: Some(Id(1, 0)), last: Id(10, 0), ..Ends::default() },
            ..Moment::default()
        }
    }

    #[test]
    fn the_oldest_of_what_is_pending_and_what_waits_holds_the_mirror() {
        let kinds = |moment: &Moment| moment.judge(0).into_iter().map(|found| found.kind).collect::<Vec<_>>();
        assert_eq!(at_work().oldest_open(), Some(Id(5, 0)));
        assert_eq!(kinds(&at_work()), []);
        for (mirror, expected) in [("4-9", &[][..]), ("5-0", &[Kind::MirrorAhead]), ("9-0", &[Kind::MirrorAhead])] {
            let text = Some(mirror.to_owned());
            assert_eq!(kinds(&Moment { mirror: text.clone(), shadow: text, ..at_work() }), expected, "{mirror}");
        }
        let verified = |id: Id| kinds(&Moment { verified: Some(id), ..at_work() });
        assert_eq!((verified(Id(4, 9)), verified(Id(5, 0))), (vec![], vec![Kind::VerifiedAhead]));
        let of_old = Moment { verified: Some(Id(5, 0)), ..at_work() };
        assert_eq!(of_old.judge(6), [], "older than the ledger");
        assert_eq!(of_old.judge(5).len(), 1);
    }
}
