//! What replicas ask of the group: reading, settling, renewing, counting, giving back, handing over, leaving, adopting.

use super::{Handed, Letter, Model, Presence, Seen, error};
use crate::call::{CLAIM_IDLE, End, LEDGER_TTL, SLOTS, about, host_of};
use crate::ids::Id;
use crate::wire::Value;

/// After so many times an entry is handed over once in ten seconds.
const HANDED_MAX: u64 = 8;
const HANDED_PAUSE: u64 = 10_000;
/// A job with so many crashes is a suspect.
pub const SUSPECT: u64 = 2;
pub const GIVEN_BACK: i64 = 3_600_000;

impl Model {
    pub fn append(&mut self, at: Option<Id>) -> Value {
        let id = at.unwrap_or_else(|| self.last.after(self.now));
        self.has_stream = true;
        self.entries.insert(id);
        self.last = id;
        Value::text(id)
    }

    /// Answers the ids.
    pub fn read(&mut self, me: &str, count: u64) -> Value {
        if self.is_paused {
            return Value::text("paused");
        }
        if !self.has_stream || self.group.is_none() {
            return error("NOGROUP");
        }
        let from = self.group.as_ref().map_or(Id::ZERO, |group| group.delivered);
        let ids: Vec<Id> = self.entries.iter().copied().filter(|&id| id > from).take(count as usize).collect();
        for &id in &ids {
            self.give(id, me, self.clock(), 1);
            self.group.as_mut().expect("looked").delivered = id;
        }
        Value::texts(ids)
    }

    /// One outcome for each job that is this consumer's, and none for any other.
    pub fn settle(&mut self, me: &str, batch: &[(Id, End)], seen: &Seen) -> Value {
        if let Some(refusal) = self.no_group() {
            return refusal;
        }
        let mut words = Vec::new();
        for &(id, end) in batch {
            let (is_mine, is_known) = (self.is_mine(me, id), self.knows(id));
            let word = if is_mine {
                match (is_known, end) {
                    (true, _) => "dup",
                    (false, End::Known) => "lost",
                    (false, _) => "ok",
                }
            } else if self.pending(id).is_some() {
                "lost"
            } else if is_known {
                "dup"
            } else if id > self.last.max(self.group.as_ref().expect("looked").delivered) {
                "unknown"
            } else if id.ms + LEDGER_TTL >= self.now {
                if end == End::Known { "lost" } else { "ok" }
            } else {
                if self.entries.contains(&id) && id <= self.group.as_ref().expect("looked").delivered {
                    self.give(id, me, self.clock(), 1);
                }
                "expired"
            };
            if word == "ok" {
                self.publish(id, end);
            }
            if word == "ok" || (word == "dup" && is_mine) {
                self.acknowledge(id);
                self.past.remove(&id);
            }
            words.push(word);
        }
        let delivered = self.group.as_ref().expect("looked").delivered.to_string();
        let [way, mark, foreign] = self.follow(seen);
        let are_fine = words.iter().all(|&word| word == "ok");
        let words = Value::texts(if are_fine { Vec::new() } else { words });
        Value::List(vec![Value::text(way), Value::text(mark), Value::text(foreign), Value::text(delivered), words])
    }

    fn publish(&mut self, id: Id, end: End) {
        let outcome = match end {
            End::Success => Some(self.append_result(Some(id), "success", "")),
            End::GivenUp => Some(self.append_result(Some(id), "failure", "engine_unavailable")),
            End::Malformed | End::Known => None,
        };
        if end != End::Success {
            let reason = if end == End::GivenUp { "retries_exhausted" } else { "malformed" };
            self.append_letter(Letter { source: id, reason, outcome, is_empty: false });
        }
        self.remember(id);
    }

    /// Since when this replica has watched the others: a renewal that comes late by more than a twelfth of claim idle costs
    /// three times that.
    pub fn watching_since(&self, me: &str) -> u64 {
        let Some(own) = self.presences.get(me) else { return self.now };
        if own.seen > self.now || own.since > self.now {
            return self.now;
        }
        let late = 3 * (self.clock() - i64::try_from(own.seen + CLAIM_IDLE * 5 / 12).expect("a time"));
        if late <= 0 {
            return own.since;
        }
        let left = (i64::try_from(CLAIM_IDLE).expect("a time") - late).max(0);
        own.since.max(u64::try_from(self.clock() - left).expect("a time"))
    }

    pub fn be_present(&mut self, me: &str, state: &'static str, serves: bool) {
        let since = self.watching_since(me);
        let born = self.presences.get(me).map_or(self.now, |own| own.born.min(self.now));
        let presence = Presence {
            seen: self.now,
            state,
            born,
            since,
            lost: None,
            died: None,
            heard: None,
            about: about(me, serves),
        };
        self.presences.insert(me.to_owned(), presence);
    }

    pub fn renew(&mut self, me: &str, serves: bool, ids: &[Id], generation: u64, seen: &Seen) -> Value {
        let answer = |delivered: String, words: Vec<&str>, strays: Vec<String>, hearing: &str| {
            Value::List(vec![Value::text(delivered), Value::texts(words), Value::texts(strays), Value::text(hearing)])
        };
        let before = self.presences.get(me).cloned();
        if before.as_ref().is_some_and(|own| matches!(own.state, "left" | "dead")) {
            return answer(String::new(), Vec::new(), Vec::new(), "dead");
        }
        self.be_present(me, "running", serves);
        let hearing = if generation > 0 && self.subscribed.contains(me) { "heard" } else { "unheard" };
        if hearing == "heard" {
            let earlier = before.and_then(|own| own.heard).filter(|(_, of)| *of == generation).map(|(ms, _)| ms);
            let since = earlier.unwrap_or(self.now).min(self.now);
            self.presences.get_mut(me).expect("just written").heard = Some((since, generation));
        }
        if let Some(refusal) = self.no_group() {
            return if ids.is_empty() { answer(String::new(), Vec::new(), Vec::new(), hearing) } else { refusal };
        }
        let (delivered, mut strays) = (self.group.as_ref().expect("looked").delivered, Vec::new());
        for id in self.held_by(me) {
            let pending = self.pending(id).expect("held").clone();
            if ids.contains(&id) || self.clock() - pending.since >= GIVEN_BACK {
                continue;
            }
            let mut told = [String::new(), String::new()];
            let handed = self.past.get_mut(&id).and_then(|past| past.handed.as_mut());
            if let Some(handed) = handed.filter(|one| one.to == me && one.deliveries == pending.deliveries) {
                told = ["handed".to_owned(), std::mem::take(&mut handed.dead_owner)];
                handed.to.clear();
            }
            strays.extend([id.to_string(), pending.deliveries.to_string()]);
            strays.extend(told);
        }
        let (mut words, mut is_put_back) = (Vec::new(), false);
        for &id in ids {
            let exists = self.entries.contains(&id);
            words.push(match self.pending(id).cloned() {
                Some(pending) if pending.owner != me => "other",
                Some(_) if !exists => "trimmed",
                Some(pending) => {
                    self.give(id, me, self.clock(), pending.deliveries);
                    "mine"
                }
                None if self.knows(id) => "settled",
                None if exists && id <= delivered => {
                    self.give(id, me, self.clock(), 1);
                    is_put_back = true;
                    "restored"
                }
                None => "absent",
            });
        }
        if is_put_back {
            self.follow(seen);
        }
        answer(delivered.to_string(), words, strays, hearing)
    }

    pub fn history(&mut self, ids: &[Id]) -> Value {
        let is_nothing_known = !ids.iter().any(|&id| self.knows(id)) && !self.has_past();
        if is_nothing_known {
            return Value::Nil;
        }
        let (mut past, mut cancelled) = (Vec::new(), Vec::new());
        for &id in ids {
            let (crashes, failures, _) = self.counts(id);
            past.extend([u64::from(self.knows(id)), crashes, failures]);
            let mark = self.past.get(&id).and_then(|past| past.cancel.as_deref());
            if let Some(mark) = mark.filter(|_| !self.knows(id)) {
                cancelled.push(id.to_string());
                cancelled.extend(words_of(mark));
            }
        }
        Value::List(vec![Value::texts(past), Value::texts(cancelled)])
    }

    pub fn fail(&mut self, me: &str, id: Id, passed: u64) -> Value {
        if self.group.is_none() {
            return error("NOGROUP");
        }
        if self.pending(id).is_some_and(|pending| pending.owner != me) {
            return Value::Nil;
        }
        let (crashes, failures, since) = self.counts(id);
        let since = if since == 0 { self.now - passed } else { since };
        let past = self.past_of(id);
        let age = past.age.unwrap_or(0) + if failures > 0 { passed } else { 0 };
        past.counts = Some((crashes, failures + 1, since));
        past.age = Some(age);
        past.retry = None;
        if crashes > 0 {
            past.alone = None;
        }
        Value::texts([crashes, failures + 1, age])
    }

    pub fn withdraw(&mut self, counts: &[(Id, u64)]) -> Value {
        let mut withdrawn = 0;
        for &(id, times) in counts {
            let (crashes, failures, since) = self.counts(id);
            if failures == 0 {
                continue;
            }
            if self.group.is_none() {
                return error("NOGROUP");
            }
            if self.pending(id).is_none() {
                continue;
            }
            let left = failures.saturating_sub(times);
            withdrawn += failures - left;
            let past = self.past_of(id);
            if left > 0 {
                past.counts = Some((crashes, left, since));
            } else {
                past.age = None;
                past.counts = if crashes > 0 { Some((crashes, 0, 0)) } else { None };
            }
        }
        Value::text(withdrawn)
    }

    pub fn make_sweep_due(&mut self, goes_on: bool) {
        self.set("due", 0);
        if !goes_on {
            self.set("cursor", "-");
        }
    }

    /// Makes those that exist claimable at once; answers how many.
    fn give_back(&mut self, me: &str, ids: &[Id]) -> usize {
        let there: Vec<Id> = ids.iter().copied().filter(|id| self.entries.contains(id)).collect();
        for &id in &there {
            let deliveries = self.pending(id).map_or(1, |pending| pending.deliveries);
            self.give(id, me, self.long_ago(), deliveries);
        }
        there.len()
    }

    pub fn hand_back(&mut self, me: &str, ids: &[Id], rewinds: bool) -> Value {
        if self.group.is_none() {
            return error("NOGROUP");
        }
        let mine: Vec<Id> = ids.iter().copied().filter(|&id| self.is_mine(me, id)).collect();
        let count = self.give_back(me, &mine);
        if count > 0 {
            self.make_sweep_due(!rewinds);
        }
        Value::text(count)
    }

    pub fn leave(&mut self, me: &str) -> Value {
        let charged = self.charges.remove(me).map(|(_, ids)| ids).unwrap_or_default();
        let taken_back = charged.into_iter().filter(|&id| self.take_back(id)).count();
        if self.group.is_none() {
            return Value::texts([0, taken_back]);
        }
        let held = self.held_by(me);
        self.be_present(me, "left", true);
        if !held.is_empty() {
            self.give_back(me, &held);
            self.make_sweep_due(false);
        }
        Value::texts([held.len(), taken_back])
    }

    pub fn is_serving(&self, presence: &Presence) -> bool {
        presence.state == "running" && self.is_there(presence) && !presence.about.contains(r#""serves":false"#)
    }

    pub fn hand_over(&mut self, me: &str, orders: &[(Id, String)]) -> Value {
        if self.group.is_none() {
            return error("NOGROUP");
        }
        let own = self.presences.get(me).cloned();
        let is_over = own.as_ref().is_some_and(|own| matches!(own.state, "left" | "dead"));
        // By name: how much each has, and as how much more one without a subscription counts.
        let mut load: Vec<(String, u64, u64)> = self
            .presences
            .iter()
            .filter(|(name, presence)| *name != me && self.is_serving(presence))
            .map(|(name, one)| {
                (name.clone(), self.held_by(name).len() as u64, if one.heard.is_some() { 0 } else { SLOTS })
            })
            .collect();
        let (mut words, mut has_suspect) = (Vec::new(), false);
        for (id, host) in orders {
            let mut answer = |word: &str, to: &str| words.extend([word.to_owned(), to.to_owned()]);
            if is_over || !self.is_mine(me, *id) {
                answer("lost", "");
                continue;
            }
            if !self.entries.contains(id) {
                answer("trimmed", "");
                continue;
            }
            let is_wanted = |name: &str| {
                if host == "*" { own.is_some() && host_of(name) != host_of(me) } else { host_of(name) == *host }
            };
            let able: Vec<&mut (String, u64, u64)> = load.iter_mut().filter(|(name, ..)| is_wanted(name)).collect();
            let is_full = able.iter().any(|(_, held, _)| *held >= 2 * SLOTS);
            let fits = able.into_iter().filter(|(_, held, _)| *held < 2 * SLOTS);
            let Some(to) = fits.min_by_key(|(_, held, more)| *held + *more) else {
                answer(if is_full { "full" } else { "nowhere" }, "");
                continue;
            };
            let times = match self.past.get(id).and_then(|past| past.handed.as_ref()) {
                Some(handed) if handed.times >= HANDED_MAX && self.now - handed.at < HANDED_PAUSE => {
                    answer("often", "");
                    continue;
                }
                Some(handed) => handed.times,
                None => 0,
            };
            let deliveries = self.pending(*id).expect("mine").deliveries;
            let (name, at) = (to.0.clone(), self.now);
            self.past_of(*id).handed =
                Some(Handed { times: times + 1, at, deliveries, to: name.clone(), dead_owner: String::new() });
            let is_suspect = self.counts(*id).0 >= SUSPECT;
            has_suspect |= is_suspect;
            self.give(*id, &name, if is_suspect { self.long_ago() } else { self.clock() }, deliveries);
            to.1 += 1;
            answer("handed", &name);
        }
        if has_suspect {
            self.make_sweep_due(false);
        }
        Value::texts(words)
    }

    pub fn adopt(&mut self, me: &str, seen: &Seen) -> Value {
        let last = if self.has_stream { self.last } else { Id::ZERO };
        let before = |model: &Self, delivered: Id| {
            if !model.index.is_empty() || model.has_past() { last } else { delivered }
        };
        let answer = |state: &str, mirror: String, count: usize, before: Id| {
            Value::texts([state.to_owned(), mirror, count.to_string(), before.to_string()])
        };
        let (held, shadow) = (self.mirror.as_deref().and_then(Id::parse), self.shadow.as_deref().and_then(Id::parse));
        let Some(group) = self.group.clone() else {
            let start = held.filter(|&held| held <= last).unwrap_or(Id::ZERO);
            let is_ours = self.mirror.is_some() && self.mirror == self.shadow;
            let verified = self.verified.filter(|&verified| is_ours && verified < start).unwrap_or(start);
            self.excused.extend(self.entries.range(..=verified));
            self.has_stream = true;
            self.group = Some(super::Group { delivered: start, ..super::Group::default() });
            self.mirror = Some(start.to_string());
            self.shadow = Some(start.to_string());
            self.verified = Some(verified);
            self.sweep.clear();
            return answer("created", start.to_string(), 0, before(self, start));
        };
        let foreign = held
            .filter(|&held| self.mirror != self.shadow && shadow.is_none_or(|shadow| held > shadow) && held <= last);
        let Some(held) = foreign else {
            let [_, mark, _] = self.follow(seen);
            if self.verified.is_none() {
                self.verified = Id::parse(&mark);
            }
            return answer("exists", mark, 0, before(self, group.delivered));
        };
        let others = self.presences.iter().any(|(name, presence)| name != me && self.is_there(presence));
        if others {
            return answer("foreign", held.to_string(), 0, before(self, group.delivered));
        }
        let answered: Vec<Id> = group.pending.range(..=held).map(|(&id, _)| id).collect();
        for &id in &answered {
            self.remember(id);
            self.acknowledge(id);
            self.past.remove(&id);
        }
        self.excused.extend(self.entries.range(..=held));
        let delivered = group.delivered.max(held);
        self.group.as_mut().expect("looked").delivered = delivered;
        self.verified = Some(self.verified.map_or(held, |verified| verified.max(held)));
        let [_, mark, _] = self.follow(seen);
        answer("adopted", mark, answered.len(), before(self, delivered))
    }

    pub fn tell(&mut self, ids: &[Id]) -> Value {
        let mut words = Vec::new();
        for kind in ["retry", "cancel"] {
            for id in ids {
                let Some(past) = self.past.get_mut(id) else { continue };
                let mark = if kind == "retry" { past.retry.take() } else { past.cancel.clone() };
                if let Some(mark) = mark {
                    words.extend([id.to_string(), kind.to_owned()]);
                    words.extend(words_of(&mark));
                }
            }
        }
        // No sequence asks a replica to drain.
        Value::List(vec![Value::texts(words), Value::List(Vec::new())])
    }
}

/// When, who and why.
pub fn words_of(mark: &str) -> [String; 3] {
    let (head, reason) = mark.split_once('\n').expect("a mark of ours");
    let (ms, by) = head.split_once(' ').expect("a mark of ours");
    [ms, by, reason].map(str::to_owned)
}
