//! How jobs change hands: who may take what from whom, and what a death counts.

use std::collections::BTreeMap;

use super::deaths::{Causes, EXCUSED_MAX};
use super::group::{GIVEN_BACK, SUSPECT};
use super::{Letter, Model, Pending, Seen};
use crate::call::{CLAIM_IDLE, CRASH_BUDGET, SWEEP_EVERY};
use crate::ids::Id;
use crate::wire::Value;

/// For how long a suspect that was handed over is kept for its new owner.
const RESERVED: u64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Left,
    Died,
    /// Declared dead, and not silent for claim idle yet.
    Disconnected,
    Forsaken,
}

impl Why {
    fn is_death(self) -> bool {
        matches!(self, Self::Died | Self::Disconnected)
    }
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
    /// One without a presence is judged by the first of its jobs.
    causes: Causes,
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
        if owner.state == "dead" {
            return Some(Why::Disconnected);
        }
        (idle >= claim_idle && behind >= claim_idle).then_some(Why::Forsaken)
    }

    fn reserved_for(&self, id: Id, deliveries: u64) -> Option<&str> {
        let handed = self.past.get(&id)?.handed.as_ref()?;
        let is_his = !handed.to.is_empty() && handed.deliveries == deliveries && self.now - handed.at < RESERVED;
        let presence = self.presences.get(&handed.to)?;
        (is_his && self.is_serving(presence)).then_some(&handed.to)
    }

    /// What of these jobs may change hands, up to `want`; `alone`: a suspect is wanted. Answers how far it went, and whether
    /// there is room for more.
    fn look_through(&self, me: &str, ids: &[Id], want: usize, alone: bool, found: &mut Found) -> (Option<Id>, bool) {
        let mut last = None;
        for &id in ids {
            let one = self.pending(id).expect("pending");
            let idle = self.clock() - one.since;
            let mut why = self.why(me, one);
            // Of what has no payload its owner may be in the middle; only an hour of silence ends that.
            if why == Some(Why::Forsaken) && idle < GIVEN_BACK && !self.entries.contains(&id) {
                why = None;
            }
            let candidate = why.and_then(|why| self.candidate(me, (id, one), why, alone, found));
            if let Some(candidate) = candidate {
                if candidate.crashes >= SUSPECT {
                    found.suspect.get_or_insert(candidate);
                    if alone {
                        return (last, false);
                    }
                } else if !alone {
                    if found.candidates.len() == want {
                        found.is_full = true;
                        return (last, false);
                    }
                    found.candidates.push(candidate);
                }
            }
            last = Some(id);
        }
        (last, true)
    }

    /// What the dead hold.
    fn look_at_dead(&self, me: &str, dead: &[String], want: usize, alone: bool, found: &mut Found) {
        for owner in dead {
            if !self.look_through(me, &self.held_by(owner), want, alone, found).1 {
                return;
            }
        }
    }

    /// What lies behind `from` in the pending list.
    fn look_from(&self, me: &str, from: Option<Id>, want: usize, alone: bool, found: &mut Found) {
        let pending = &self.group.as_ref().expect("there is a group").pending;
        let ids: Vec<Id> = pending.keys().copied().filter(|&id| from.is_none_or(|from| id > from)).collect();
        let (last, has_room) = self.look_through(me, &ids, want, alone, found);
        found.reached = if has_room { None } else { last.or(from) };
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
        if !why.is_death() && crashes >= SUSPECT {
            match self.reserved_for(id, one.deliveries) {
                Some(other) if other != me => {
                    found.is_another_expected = true;
                    return None;
                }
                reserved => candidate.is_reserved = reserved.is_some(),
            }
        }
        if !why.is_death() || (crashes >= SUSPECT && !alone) {
            return Some(candidate);
        }
        let past = self.past.get(&id);
        let seen = self.presences.get(&one.owner).map_or(one.since, |owner| i64::try_from(owner.seen).expect("a time"));
        let excuses = past.and_then(|past| past.excused).unwrap_or(0);
        let seen = u64::try_from(seen).unwrap_or(0);
        let has_cause = self.has_cause_outside(me, id, (&one.owner, seen, &one.owner), &mut found.causes);
        if has_cause && excuses < EXCUSED_MAX {
            candidate.is_excused = true;
        } else if crashes < SUSPECT || past.and_then(|past| past.alone.as_ref()) == Some(&one.owner) {
            // No job is condemned by a death that is not certain.
            if why == Why::Disconnected && crashes + 1 > CRASH_BUDGET {
                return None;
            }
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

    pub fn sweep(&mut self, me: &str, mode: &str, with: (usize, bool, u64), seen: &Seen) -> Value {
        let (want, holds_nothing, generation) = with;
        if self.is_paused {
            return Value::text("paused");
        }
        let mut answer = Answer { again: SWEEP_EVERY, ..Answer::default() };
        let own = self.presences.get(me);
        if own.is_some_and(|own| own.state == "dead") {
            return answer.word("dead");
        }
        // A replica whose own presence has expired takes nothing.
        if !own.is_some_and(|own| own.state != "left" && own.seen + CLAIM_IDLE >= self.now) {
            return answer.word("not-due");
        }
        let (sweep_left, watch_left) = (self.left_until("due"), self.left_until("watch_due"));
        let alone = mode == "alone" || mode == "another";
        let is_ours = self.sweep.get("by").map(String::as_str) == Some(me);
        let is_due = mode != "watch" && (sweep_left == 0 || alone || (mode == "take" && is_ours));
        if !is_due && watch_left > 0 {
            answer.again = watch_left.min(if mode == "watch" { SWEEP_EVERY } else { sweep_left });
            return answer.word("not-due");
        }
        answer.again = watch_left;
        let mut dead = self.dead_owners(me);
        if (watch_left == 0 || sweep_left == 0)
            && let Some(refusal) = self.watch(me, generation, &mut answer)
        {
            return refusal;
        }
        dead.extend(answer.declared.iter().cloned());
        if mode == "watch" {
            let is_found = !answer.declared.is_empty() || (!dead.is_empty() && sweep_left == 0);
            if is_found {
                self.set("due", self.now);
            }
            return answer.word(if is_found { "found" } else { "swept" });
        }
        if !is_due && answer.declared.is_empty() {
            answer.again = answer.again.min(sweep_left);
            return answer.word("swept");
        }
        answer.again = answer.again.min(SWEEP_EVERY);
        if self.group.is_none() {
            return super::error("NOGROUP");
        }
        let mut found = Found::default();
        let taken = if alone {
            self.find_suspect(me, mode, &dead, &mut found);
            let taken = self.there(found.suspect.take().into_iter().collect(), &answer);
            if self.sweep.get("alone_by").map(String::as_str) == Some(me) {
                self.set("alone_until", 0);
            }
            let Some(suspect) = taken.first() else { return answer.word("swept") };
            self.set("suspect", suspect.id);
            taken
        } else {
            let Some(taken) = self.find(me, mode, want, &dead, &mut found, &answer) else {
                return answer.word("found");
            };
            if taken.is_empty() {
                return answer.word(self.offer(me, holds_nothing, &found));
            }
            taken
        };
        self.take(me, &taken, alone, seen, answer)
    }

    /// Ordinary jobs to take; nothing where it is only asked whether there are any.
    fn find(
        &mut self,
        me: &str,
        mode: &str,
        want: usize,
        dead: &[String],
        found: &mut Found,
        answer: &Answer,
    ) -> Option<Vec<Candidate>> {
        let start = self.sweep.get("cursor").and_then(|text| Id::parse(text));
        self.look_at_dead(me, dead, want, false, found);
        let mut cursor = start;
        if found.candidates.is_empty() && !found.is_full {
            self.look_from(me, start, want, false, found);
            cursor = found.reached;
        }
        let is_look = mode == "look" && !found.candidates.is_empty();
        let taken = self.there(std::mem::take(&mut found.candidates), answer);
        self.set("due", if found.is_full && !is_look { self.now } else { self.now + SWEEP_EVERY });
        self.set("by", me);
        if is_look {
            return None;
        }
        self.set("cursor", cursor.map_or("-".to_owned(), |id| id.to_string()));
        Some(taken)
    }

    /// Answers the refusal where provisional crashes are to be looked at, and there is no group.
    fn watch(&mut self, me: &str, generation: u64, answer: &mut Answer) -> Option<Value> {
        let look = self.look_at_subscriptions(me, generation);
        answer.again = look.again;
        if let Some(notes) = look.notes {
            self.set("watch_due", self.now + look.again);
            if self.sweep.get("noted").map_or("", String::as_str) != notes {
                self.set("noted", notes);
            }
        }
        answer.declared = look.declared;
        let due = self.number("reconsider_due");
        if !answer.declared.is_empty() || (due > 0 && self.now >= due) {
            if self.group.is_none() && self.has_recent_charges() {
                return Some(super::error("NOGROUP"));
            }
            answer.withdrawn = self.reconsider(me);
            self.reconsider_later();
        }
        None
    }

    fn find_suspect(&self, me: &str, mode: &str, dead: &[String], found: &mut Found) {
        if mode == "another" && self.keeper(me).0 {
            return;
        }
        self.look_at_dead(me, dead, 1, true, found);
        let hint = self.sweep.get("suspect").and_then(|text| Id::parse(text));
        if found.suspect.is_none() {
            self.look_from(me, hint, 1, true, found);
        }
        if found.suspect.is_none() && hint.is_some() {
            self.look_from(me, None, 1, true, found);
        }
    }

    /// What of the candidates is taken. An owner that lives after all settles what has no payload; and where deaths have been
    /// declared or crashes withdrawn, these are told first if anything is lost.
    fn there(&self, mut candidates: Vec<Candidate>, answer: &Answer) -> Vec<Candidate> {
        candidates.retain(|one| self.entries.contains(&one.id) || one.why != Why::Disconnected);
        let has_news = !answer.declared.is_empty() || answer.withdrawn > 0;
        if has_news && candidates.iter().any(|one| !self.entries.contains(&one.id)) {
            candidates.clear();
        }
        candidates
    }

    /// There is nothing ordinary: may this replica run a suspect?
    fn offer(&mut self, me: &str, holds_nothing: bool, found: &Found) -> &'static str {
        if let Some(suspect) = &found.suspect {
            let (is_keeper, is_only) = self.keeper(me);
            let alone_until = self.number("alone_until");
            let is_turn = self.sweep.get("alone_by").map(String::as_str) == Some(me)
                || alone_until <= self.now
                || alone_until > self.now + CLAIM_IDLE;
            if holds_nothing || (is_turn && (is_only || !is_keeper || suspect.is_reserved)) {
                if !holds_nothing {
                    self.set("alone_by", me);
                    self.set("alone_until", self.now + CLAIM_IDLE);
                }
                return "suspects";
            }
            self.set("due", self.now);
        }
        if found.is_another_expected {
            self.set("due", self.now);
        }
        "swept"
    }

    fn take(&mut self, me: &str, taken: &[Candidate], alone: bool, seen: &Seen, mut answer: Answer) -> Value {
        let mut from: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
        let mut charged: BTreeMap<&str, Vec<Id>> = BTreeMap::new();
        for one in taken {
            let owner = from.entry(&one.owner).or_default();
            owner.1 |= one.why == Why::Died;
            if !self.entries.contains(&one.id) {
                continue;
            }
            owner.0 += 1;
            self.give(one.id, me, self.clock(), one.deliveries + 1);
            let (_, failures, since) = self.counts(one.id);
            if one.is_counted {
                self.past_of(one.id).counts = Some((one.crashes, failures, since));
                answer.crashed += 1;
                if one.why == Why::Disconnected {
                    charged.entry(&one.owner).or_default().push(one.id);
                }
            }
            if one.is_excused {
                *self.past_of(one.id).excused.get_or_insert(0) += 1;
            }
            if alone {
                self.past_of(one.id).alone = Some(me.to_owned());
            }
            let dead = if one.why.is_death() { &one.owner } else { "" };
            let words =
                [one.id.to_string(), (one.deliveries + 1).to_string(), one.crashes.to_string(), failures.to_string()];
            answer.claimed.push(Value::texts(words.into_iter().chain([dead.to_owned()])));
        }
        let has_charged = !charged.is_empty();
        for (owner, ids) in charged {
            self.charges.entry(owner.to_owned()).or_insert((self.now, Vec::new())).1.extend(ids);
        }
        if has_charged && self.number("reconsider_due") == 0 {
            self.reconsider_later();
        }
        let gone: Vec<Id> = taken.iter().map(|one| one.id).filter(|id| !self.entries.contains(id)).collect();
        for &id in &gone {
            // Answered before, and delivered again: no more is lost.
            if !self.knows(id) {
                answer.lost += 1;
                self.append_letter(Letter { source: id, reason: "entry_lost", outcome: None, is_empty: true });
            }
            self.remember(id);
            self.acknowledge(id);
            self.past.remove(&id);
        }
        if !gone.is_empty() {
            self.follow(seen);
        }
        for (owner, (count, is_silent)) in from {
            if count > 0 {
                answer.from.push(Value::texts([owner.to_owned(), count.to_string()]));
            }
            let now = self.now;
            if let Some(presence) = self.presences.get_mut(owner)
                && is_silent
                && presence.state == "running"
                && presence.lost.is_none()
            {
                presence.lost = Some(now);
                answer.silent += 1;
            }
        }
        if answer.silent > 0 {
            answer.withdrawn += self.reconsider(me);
            self.reconsider_later();
        }
        answer.word("swept")
    }
}

/// What a sweep answers.
#[derive(Default)]
struct Answer {
    again: u64,
    declared: Vec<String>,
    silent: usize,
    crashed: usize,
    withdrawn: usize,
    claimed: Vec<Value>,
    lost: usize,
    from: Vec<Value>,
}

impl Answer {
    fn word(self, word: &str) -> Value {
        let numbers = [self.silent, self.crashed, self.withdrawn].map(Value::text);
        let deaths = Value::List([Value::texts(self.declared)].into_iter().chain(numbers).collect());
        let lists = [Value::List(self.claimed), Value::text(self.lost), Value::List(self.from)];
        Value::List([Value::text(word), Value::text(self.again), deaths].into_iter().chain(lists).collect())
    }
}
