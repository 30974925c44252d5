//! One atomic look at the mirror, and what must be true of it at any moment.

use super::facts::Ends;
use super::finding::{Finding, Kind};
use super::id::Id;

/// The script of the look.
pub const SCRIPT: &str = include_str!("moment.lua");

/// What one look saw. All of it is of one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moment {
    /// The server's clock.
    pub now_ms: u64,
    /// There is a group.
    pub has_group: bool,
    /// The group's last-delivered id.
    pub delivered: Id,
    /// The mirror as it stands; none: unset.
    pub mirror: Option<String>,
    /// Its shadow.
    pub shadow: Option<String>,
    /// The janitor's `verified`.
    pub verified: Option<Id>,
    /// The oldest pending entry.
    pub oldest_pending: Option<Id>,
    /// The oldest pending entry that is not settled.
    pub oldest_unsettled: Option<Id>,
    /// The first entry that was not delivered yet.
    pub first_undelivered: Option<Id>,
    /// The jobs stream.
    pub jobs: Ends,
    /// The results stream.
    pub results: Ends,
    /// The dead-letter stream.
    pub dead: Ends,
}

impl Moment {
    /// Reads the script's answer.
    pub fn read(words: &[String]) -> Option<Self> {
        let id = |at: usize| words.get(at).and_then(|word| Id::parse(word));
        let text = |at: usize| words.get(at).filter(|word| !word.is_empty()).cloned();
        let ends = |at: usize| Some(Ends { first: id(at), last: id(at + 1)?, is_cut: words.get(at + 2)? != "0" });
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
            results: ends(12)?,
            dead: ends(15)?,
        })
    }

    /// Nothing is pending and nothing waits to be delivered.
    pub fn is_at_rest(&self) -> bool {
        self.has_group && self.oldest_pending.is_none() && self.first_undelivered.is_none()
    }

    /// The mirror as an id; none where it is unset or no id.
    pub fn mirror_id(&self) -> Option<Id> {
        self.mirror.as_deref().and_then(Id::parse)
    }

    /// The oldest entry without an answer, as far as the group knows: pending, or not yet delivered.
    pub fn oldest_open(&self) -> Option<Id> {
        self.oldest_unsettled.into_iter().chain(self.first_undelivered).min()
    }

    /// What is wrong at this moment.
    pub fn judge(&self, ledger_from_ms: u64) -> Vec<Finding> {
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
