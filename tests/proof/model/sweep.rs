//! How jobs change hands: who may take what from whom, and what a death counts.

use std::collections::BTreeMap;

use super::group::{GIVEN_BACK, SUSPECT};
use super::{Letter, Model, Pending, Seen};
use crate::call::{CLAIM_IDLE, SWEEP_EVERY};
use crate::ids::Id;
use crate::wire::Value;

/// How often the cause of a death lies outside, for one job.
const EXCUSED_MAX: u64 = 10;
/// For how long a suspect that was handed over is kept for its new owner.
const RESERVED: u64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Left,
    Died,
    Forsaken,
}

#[derive(Debug, Clone)]
struct Candidate {
    id: Id,
    owner: String,
    deliveries: u64,
    crashes: u64,
    is_counted: bool,
    is_excused: bool,
    why: Why,
    is_reserved: bool,
}

/// What one look through the pending list finds.
#[derive(Default)]
struct Found {
    /// Whether a death had a cause outside, by owner: one without a presence is judged by the first of its jobs.
    causes: BTreeMap<String, bool>,
    candidates: Vec<Candidate>,
    suspect: Option<Candidate>,
    is_full: bool,
    is_another_expected: bool,
    /// How far it went; nothing: to the end.
    reached: Option<Id>,
}

impl Model {
    fn why(&self, me: &str, pending: &Pending) -> Option<Why> {
        let (now, idle) = (self.clock(), self.clock() - pending.since);
        let claim_idle = i64::try_from(CLAIM_IDLE).expect("a time");
        if pending.owner == me {
            return (idle >= GIVEN_BACK).then_some(Why::Forsaken);
        }
        let watched = i64::try_from(self.watching_since(me)).expect("a time");
        let Some(owner) = self.presences.get(&pending.owner) else {
            if idle >= GIVEN_BACK {
                return Some(Why::Forsaken);
            }
            return (idle >= claim_idle && now - watched >= claim_idle).then_some(Why::Died);
        };
        if owner.state == "left" {
            return Some(Why::Left);
        }
        // How long before its owner's last sign of life it was renewed.
        let heard = i64::try_from(owner.seen).expect("a time");
        let behind = heard - pending.since;
        if idle >= GIVEN_BACK && behind >= GIVEN_BACK / 2 {
            return Some(Why::Forsaken);
        }
        if now - heard.max(watched) >= claim_idle {
            return Some(Why::Died);
        }
        (idle >= claim_idle && behind >= claim_idle).then_some(Why::Forsaken)
    }

    /// Did at least half of the fleet of that moment die within half a claim idle, this owner among two or more?
    fn has_cause_outside(&self, owner: &str, seen: u64) -> bool {
        let window = CLAIM_IDLE / 2;
        let (mut dead, mut others) = (u64::from(!self.presences.contains_key(owner)), 0);
        for one in self.presences.values().filter(|one| one.seen + window >= seen) {
            let is_dead = self.now - one.seen >= CLAIM_IDLE / 2;
            if one.seen <= seen + window && one.state != "left" && is_dead {
                dead += 1;
            } else if one.born <= seen {
                others += 1;
            }
        }
        dead >= 2 && dead >= others
    }

    fn reserved_for(&self, id: Id, deliveries: u64) -> Option<&str> {
        let handed = self.past.get(&id)?.handed.as_ref()?;
        let is_his = !handed.to.is_empty() && handed.deliveries == deliveries && self.now - handed.at < RESERVED;
        let presence = self.presences.get(&handed.to)?;
        (is_his && self.is_serving(presence)).then_some(&handed.to)
    }

    /// What of the pending list behind `from` may change hands, up to `want` jobs; `alone`: a suspect is wanted.
    fn look(&self, me: &str, from: Option<Id>, want: usize, alone: bool, causes: BTreeMap<String, bool>) -> Found {
        let mut found = Found { causes, reached: from, ..Found::default() };
        let pending = &self.group.as_ref().expect("there is a group").pending;
        for (&id, one) in
            pending.range(from.unwrap_or(Id::ZERO)..).filter(|(id, _)| from.is_none_or(|from| **id > from))
        {
            let idle = self.clock() - one.since;
            let mut why = self.why(me, one);
            // Of what has no payload its owner may be in the middle; only an hour of silence ends that.
            if why == Some(Why::Forsaken) && idle < GIVEN_BACK && !self.entries.contains(&id) {
                why = None;
            }
            let candidate = why.and_then(|why| self.candidate(me, (id, one), why, alone, &mut found));
            if let Some(candidate) = candidate {
                if candidate.crashes >= SUSPECT {
                    found.suspect.get_or_insert(candidate);
                    if alone {
                        return found;
                    }
                } else if !alone {
                    if found.candidates.len() == want {
                        found.is_full = true;
                        return found;
                    }
                    found.candidates.push(candidate);
                }
            }
            found.reached = Some(id);
        }
        found.reached = None;
        found
    }

    fn candidate(
        &self,
        me: &str,
        (id, one): (Id, &Pending),
        why: Why,
        alone: bool,
        found: &mut Found,
    ) -> Option<Candidate> {
        let (crashes, ..) = self.counts(id);
        let mut candidate = Candidate {
            id,
            owner: one.owner.clone(),
            deliveries: one.deliveries,
            crashes,
            is_counted: false,
            is_excused: false,
            why,
            is_reserved: false,
        };
        if why != Why::Died && crashes >= SUSPECT {
            match self.reserved_for(id, one.deliveries) {
                Some(other) if other != me => {
                    found.is_another_expected = true;
                    return None;
                }
                reserved => candidate.is_reserved = reserved.is_some(),
            }
        }
        if why != Why::Died || (crashes >= SUSPECT && !alone) {
            return Some(candidate);
        }
        let past = self.past.get(&id);
        let seen = self.presences.get(&one.owner).map_or(one.since, |owner| i64::try_from(owner.seen).expect("a time"));
        let excuses = past.and_then(|past| past.excused).unwrap_or(0);
        let ask = || self.has_cause_outside(&one.owner, u64::try_from(seen).unwrap_or(0));
        let has_cause = *found.causes.entry(one.owner.clone()).or_insert_with(ask);
        if has_cause && excuses < EXCUSED_MAX {
            candidate.is_excused = true;
        } else if crashes < SUSPECT || past.and_then(|past| past.alone.as_ref()) == Some(&one.owner) {
            candidate.crashes += 1;
            candidate.is_counted = true;
        }
        Some(candidate)
    }

    /// The replica of the first name keeps serving ordinary jobs; is it this one, and is it the only one?
    fn keeper(&self, me: &str) -> (bool, bool) {
        let mut others =
            self.presences.iter().filter(|(name, one)| *name != me && self.is_serving(one)).map(|(name, _)| name);
        let (mut is_first, mut is_only) = (true, true);
        for name in &mut others {
            is_only = false;
            is_first &= name.as_str() > me;
        }
        (is_first, is_only)
    }

    pub fn sweep(&mut self, me: &str, mode: &str, want: usize, holds_nothing: bool, seen: &Seen) -> Value {
        if self.is_paused {
            return Value::text("paused");
        }
        let reply = |state: &str,
                     left: u64,
                     silent: usize,
                     crashed: usize,
                     claimed: Vec<Value>,
                     lost: usize,
                     from: Vec<Value>| {
            let deaths =
                Value::List(vec![Value::List(Vec::new()), Value::text(silent), Value::text(crashed), Value::text(0)]);
            let lists = [Value::List(claimed), Value::text(lost), Value::List(from)];
            Value::List([Value::text(state), Value::text(left), deaths].into_iter().chain(lists).collect())
        };
        let word = |state: &str, left: u64| reply(state, left, 0, 0, Vec::new(), 0, Vec::new());
        // A replica whose own presence has expired takes nothing.
        let lives = self.presences.get(me).is_some_and(|own| own.state != "left" && own.seen + CLAIM_IDLE >= self.now);
        if !lives {
            return word("not-due", SWEEP_EVERY);
        }
        let left = self.number("due").saturating_sub(self.now);
        let left = if left > 2 * SWEEP_EVERY { 0 } else { left };
        let alone = mode == "alone" || mode == "another";
        let is_ours = self.sweep.get("by").map(String::as_str) == Some(me);
        if mode == "watch" || !(left == 0 || alone || (mode == "take" && is_ours)) {
            return word("not-due", if mode == "watch" { SWEEP_EVERY } else { left.min(SWEEP_EVERY) });
        }
        if self.group.is_none() {
            return super::error("NOGROUP");
        }
        let (is_keeper, is_only) = self.keeper(me);
        let mut taken = Vec::new();
        if alone {
            let mut found = Found::default();
            if mode == "alone" || !is_keeper {
                let hint = self.sweep.get("suspect").and_then(|text| Id::parse(text));
                found = self.look(me, hint, want, true, BTreeMap::new());
                if found.suspect.is_none() && hint.is_some() {
                    found = self.look(me, None, want, true, found.causes);
                }
            }
            if self.sweep.get("alone_by").map(String::as_str) == Some(me) {
                self.set("alone_until", 0);
            }
            let Some(suspect) = found.suspect else { return word("swept", SWEEP_EVERY) };
            self.set("suspect", suspect.id);
            taken.push(suspect);
        } else {
            let start = self.sweep.get("cursor").and_then(|text| Id::parse(text));
            let found = self.look(me, start, want, false, BTreeMap::new());
            if mode == "look" && !found.candidates.is_empty() {
                self.set("due", self.now + SWEEP_EVERY);
                self.set("by", me);
                return word("found", SWEEP_EVERY);
            }
            self.set("due", if found.is_full { self.now } else { self.now + SWEEP_EVERY });
            self.set("by", me);
            self.set("cursor", found.reached.map_or("-".to_owned(), |id| id.to_string()));
            if found.candidates.is_empty() {
                if let Some(suspect) = &found.suspect {
                    let alone_until = self.number("alone_until");
                    let is_turn = self.sweep.get("alone_by").map(String::as_str) == Some(me)
                        || alone_until <= self.now
                        || alone_until > self.now + CLAIM_IDLE;
                    if holds_nothing || (is_turn && (is_only || !is_keeper || suspect.is_reserved)) {
                        if !holds_nothing {
                            self.set("alone_by", me);
                            self.set("alone_until", self.now + CLAIM_IDLE);
                        }
                        return word("suspects", SWEEP_EVERY);
                    }
                    self.set("due", self.now);
                }
                if found.is_another_expected {
                    self.set("due", self.now);
                }
                return word("swept", SWEEP_EVERY);
            }
            taken = found.candidates;
        }
        self.take(me, &taken, alone, seen, reply)
    }

    fn take(
        &mut self,
        me: &str,
        taken: &[Candidate],
        alone: bool,
        seen: &Seen,
        reply: impl Fn(&str, u64, usize, usize, Vec<Value>, usize, Vec<Value>) -> Value,
    ) -> Value {
        let (mut claimed, mut crashed, mut lost) = (Vec::new(), 0, 0);
        let mut from: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
        for one in taken {
            let owner = from.entry(&one.owner).or_default();
            owner.1 |= one.why == Why::Died;
            if !self.entries.contains(&one.id) {
                lost += 1;
                continue;
            }
            owner.0 += 1;
            self.give(one.id, me, self.clock(), one.deliveries + 1);
            let (_, failures, since) = self.counts(one.id);
            if one.is_counted {
                self.past_of(one.id).counts = Some((one.crashes, failures, since));
                crashed += 1;
            }
            if one.is_excused {
                *self.past_of(one.id).excused.get_or_insert(0) += 1;
            }
            if alone {
                self.past_of(one.id).alone = Some(me.to_owned());
            }
            let dead = if one.why == Why::Died { &one.owner } else { "" };
            let words =
                [one.id.to_string(), (one.deliveries + 1).to_string(), one.crashes.to_string(), failures.to_string()];
            claimed.push(Value::texts(words.into_iter().chain([dead.to_owned()])));
        }
        let gone: Vec<Id> = taken.iter().map(|one| one.id).filter(|id| !self.entries.contains(id)).collect();
        for &id in &gone {
            if self.knows(id) {
                // Answered before, and delivered again.
                lost -= 1;
            } else {
                self.append_letter(Letter { source: id, reason: "entry_lost", outcome: None, is_empty: true });
            }
            self.remember(id);
            self.acknowledge(id);
            self.past.remove(&id);
        }
        if !gone.is_empty() {
            self.follow(seen);
        }
        let (mut silent, mut rows) = (0, Vec::new());
        for (owner, (count, is_silent)) in from {
            if count > 0 {
                rows.push(Value::texts([owner.to_owned(), count.to_string()]));
            }
            let now = self.now;
            if let Some(presence) = self.presences.get_mut(owner)
                && is_silent
                && presence.state != "left"
                && presence.lost.is_none()
            {
                presence.lost = Some(now);
                silent += 1;
            }
        }
        reply("swept", SWEEP_EVERY, silent, crashed, claimed, lost, rows)
    }
}
