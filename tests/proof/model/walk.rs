//! The janitor: what has fallen out of the pending list unanswered is put back, and what is old is forgotten.

use std::collections::BTreeSet;

use super::{Model, Seen};
use crate::call::{CLAIM_IDLE, CONSUMER_IDLE, LEDGER_TTL, TIDY_EVERY};
use crate::ids::Id;
use crate::wire::Value;

/// Buckets of the ledger that one run drops.
const BUCKETS_MAX: usize = 4;

impl Model {
    pub fn tidy(&mut self, me: &str, trims: bool, seen: &Seen) -> Value {
        let due = self.number("janitor_due");
        if self.now < due && due <= self.now + 2 * TIDY_EVERY {
            return Value::Nil;
        }
        if let Some(refusal) = self.no_group() {
            return refusal;
        }
        let mut old: Vec<(u64, u64)> = self.index.iter().map(|(&hour, &ms)| (ms, hour)).collect();
        old.retain(|&(ms, _)| ms + LEDGER_TTL + LEDGER_TTL / 64 < self.now);
        old.sort_by_key(|&(ms, hour)| (ms, hour.to_string()));
        old.truncate(BUCKETS_MAX);
        let forgotten: Vec<String> = self
            .presences
            .iter()
            .filter(|(name, one)| one.seen + CONSUMER_IDLE <= self.now && self.held_by(name).is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        self.forget_charges();
        for name in forgotten {
            self.presences.remove(&name);
            self.charges.remove(&name);
        }
        let orphans = self.walk(me, seen, &old);
        if trims {
            self.trim(seen);
        }
        self.set("janitor_due", self.now + TIDY_EVERY);
        let orphans = Value::texts(orphans);
        Value::List(vec![Value::Any, orphans, Value::text(old.len()), Value::text(0)])
    }

    /// Up to last-delivered every entry is pending, settled, or put back. What was passed as settled is not looked at again;
    /// what was pending is.
    fn walk(&mut self, me: &str, seen: &Seen, old: &[(u64, u64)]) -> Vec<Id> {
        let delivered = self.group.as_ref().expect("looked").delivered;
        let verified = self.verified.or_else(|| self.watermark()).unwrap_or(Id::ZERO).min(delivered);
        let walked_to = self.sweep.get("walked_to").and_then(|text| Id::parse(text)).filter(|&id| id >= verified);
        let cursor = walked_to.unwrap_or(verified).min(delivered);
        let listed = walked_to.and_then(|_| self.sweep.get("watched").cloned()).unwrap_or_default();
        let watched = listed.split(' ').filter_map(Id::parse).filter(|&id| id > verified && id <= cursor);
        let passed = self.entries.range(cursor..=delivered).copied().filter(|&id| id > cursor);
        let pending = &self.group.as_ref().expect("looked").pending;
        let newly_pending = pending.range(cursor..=delivered).map(|(&id, _)| id).filter(|&id| id > cursor);
        let all: BTreeSet<Id> = watched.chain(passed).chain(newly_pending).collect();
        let (mut open, mut settled, mut orphans) = (BTreeSet::new(), Vec::new(), Vec::new());
        for id in all {
            if self.pending(id).is_some() {
                open.insert(id);
            } else if id.ms + LEDGER_TTL < self.now || self.knows(id) {
                if !self.knows(id) {
                    self.excused.insert(id);
                }
                settled.push(id);
            } else if self.entries.contains(&id) {
                open.insert(id);
                orphans.push(id);
            }
        }
        let reached = match open.first() {
            None => cursor.max(delivered),
            Some(&first) => settled.iter().copied().filter(|&id| id < first).max().unwrap_or(verified).max(verified),
        };
        for id in &settled {
            self.past.remove(id);
        }
        for &(_, hour) in old {
            self.ledger.remove(&hour);
            self.index.remove(&hour);
        }
        for &id in &orphans {
            self.give(id, me, self.long_ago(), 1);
        }
        self.verified = Some(reached);
        self.set("walked_to", cursor.max(delivered));
        self.set("watched", open.iter().map(Id::to_string).collect::<Vec<_>>().join(" "));
        if !orphans.is_empty() {
            self.make_sweep_due(false);
            self.follow(seen);
        }
        orphans
    }

    /// Redis trims whole nodes; none of them may reach beyond the watermark, nor beyond what is verified.
    fn trim(&mut self, seen: &Seen) {
        let verified = self.verified.unwrap_or(Id::ZERO);
        let most = self.watermark().map_or(Id::ZERO, |mark| mark.min(verified));
        let gone: Vec<Id> = self.entries.iter().copied().filter(|id| !seen.entries.contains(id)).collect();
        for id in gone {
            if id >= most {
                self.broken.push(format!("{id} was trimmed, although all is settled up to {most} only"));
            }
            self.entries.remove(&id);
        }
    }

    /// The longest that a consumer may be silent before the janitor must have removed it, and may have.
    pub fn may_be_removed(&self, consumer: &str, touched: u64) -> Option<bool> {
        if !self.held_by(consumer).is_empty() {
            return Some(false);
        }
        match self.presences.get(consumer) {
            Some(presence) if presence.seen + CLAIM_IDLE.max(CONSUMER_IDLE) > self.now => Some(false),
            _ if touched + CONSUMER_IDLE <= self.now => Some(true),
            _ => None,
        }
    }
}
