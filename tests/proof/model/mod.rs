//! What Redis must hold and answer, written from `docs/delivery-guarantees.md`: sets and maps where the scripts have packed
//! arguments, cursors and batches.

// what replicas ask of the group
pub mod group;
// how jobs change hands
pub mod sweep;
// who is dead, and what that counts
pub mod deaths;
// tidying, and what fell out of the group
pub mod walk;
// marks, dead letters, and what others do to the keys
pub mod outside;
// the record of a game, and all of them
pub mod game;
pub mod record;

use std::collections::{BTreeMap, BTreeSet};

use crate::call::{CLAIM_IDLE, Call};
use crate::ids::Id;
use crate::wire::Value;

/// What became visible after a step, where more than one thing is right.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub mirror: Option<Id>,
    pub entries: BTreeSet<Id>,
}

#[derive(Debug, Clone)]
pub struct Pending {
    pub owner: String,
    /// When it was delivered or renewed last.
    pub since: i64,
    pub deliveries: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Group {
    pub delivered: Id,
    pub pending: BTreeMap<Id, Pending>,
}

/// What is written down about one job beside the pending list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// Crashes, failures, and when the first failed.
    pub counts: Option<(u64, u64, u64)>,
    pub age: Option<u64>,
    pub alone: Option<String>,
    pub excused: Option<u64>,
    pub handed: Option<Handed>,
    pub cancel: Option<String>,
    pub retry: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    pub times: u64,
    pub at: u64,
    pub deliveries: u64,
    pub to: String,
    pub dead_owner: String,
}

#[derive(Debug, Clone)]
pub struct Presence {
    pub seen: u64,
    pub state: &'static str,
    pub born: u64,
    pub since: u64,
    pub lost: Option<u64>,
    pub died: Option<u64>,
    /// When its subscription was heard first, and which one that was.
    pub heard: Option<(u64, u64)>,
    pub about: String,
}

#[derive(Debug, Clone)]
pub struct Letter {
    pub source: Id,
    pub reason: &'static str,
    pub outcome: Option<Id>,
    pub is_empty: bool,
}

/// What Redis holds.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub now: u64,
    pub has_stream: bool,
    pub entries: BTreeSet<Id>,
    pub last: Id,
    pub group: Option<Group>,
    /// Id, source (none of the original worker), outcome and code.
    pub results: BTreeMap<Id, (Option<Id>, &'static str, &'static str)>,
    pub last_result: Id,
    pub dead: BTreeMap<Id, Letter>,
    pub last_dead: Id,
    pub mirror: Option<String>,
    pub shadow: Option<String>,
    pub verified: Option<Id>,
    /// By hour.
    pub ledger: BTreeMap<u64, BTreeSet<Id>>,
    pub index: BTreeMap<u64, u64>,
    pub past: BTreeMap<Id, Past>,
    pub presences: BTreeMap<String, Presence>,
    /// By consumer: since when, and for which jobs a crash was counted when it was declared dead.
    pub charges: BTreeMap<String, (u64, Vec<Id>)>,
    /// Whose connections are open; no part of what Redis keeps.
    pub subscribed: BTreeSet<String>,
    pub sweep: BTreeMap<&'static str, String>,
    pub is_paused: bool,
    pub records: record::Records,
    /// What need not be answered by the fleet, because another program counts it as answered or it is too old to tell.
    pub excused: BTreeSet<Id>,
    /// Jobs that ended with a dead letter alone.
    pub answered_by_letter: BTreeSet<Id>,
    /// Pending records were removed from outside, so the mirror may stay behind.
    pub may_lag: bool,
    /// What went wrong in the model's own eyes; a promise that is broken by what it was shown.
    pub broken: Vec<String>,
}

/// Stands for the id of the server's run.
pub const RUN: &str = "run";

pub fn error(word: &str) -> Value {
    Value::Error(word.to_owned())
}

impl Model {
    pub fn apply(&mut self, call: &Call, seen: &Seen) -> Value {
        match call {
            Call::Append => self.append(None),
            Call::AppendAt(id) => self.append(Some(*id)),
            Call::Read { me, count, .. } => self.read(me, *count),
            Call::Settle { me, batch, .. } => self.settle(me, batch, seen),
            Call::Renew { me, serves, ids, generation } => self.renew(me, *serves, ids, *generation, seen),
            Call::Sweep { me, mode, want, holds_nothing, generation, .. } => {
                self.sweep(me, mode, (*want, *holds_nothing, *generation), seen)
            }
            Call::HandBack { me, ids, rewinds } => self.hand_back(me, ids, *rewinds),
            Call::HandOver { me, orders } => self.hand_over(me, orders),
            Call::Leave { me } => self.leave(me),
            Call::Adopt { me } => self.adopt(me, seen),
            Call::Tidy { me, trims } => self.tidy(me, *trims, seen),
            Call::History { ids, .. } => self.history(ids),
            Call::Fail { me, id, passed } => self.fail(me, *id, *passed),
            Call::Withdraw { counts, .. } => self.withdraw(counts),
            Call::Cancel { id, only_marks } => self.mark(*id, true, *only_marks),
            Call::RetryNow { id } => self.mark(*id, false, true),
            Call::Tell { ids, .. } => self.tell(ids),
            Call::Requeue { ids } => self.requeue(ids),
            Call::RemoveDead { ids } => self.remove_dead(ids),
            Call::Record { game, verb } => self.records.apply(self.now, *game, verb),
            _ => self.outside(call),
        }
    }

    pub fn knows(&self, id: Id) -> bool {
        self.ledger.get(&id.hour()).is_some_and(|bucket| bucket.contains(&id))
    }

    pub fn remember(&mut self, id: Id) {
        self.ledger.entry(id.hour()).or_default().insert(id);
        self.index.insert(id.hour(), self.now);
    }

    pub fn pending(&self, id: Id) -> Option<&Pending> {
        self.group.as_ref()?.pending.get(&id)
    }

    pub fn is_mine(&self, me: &str, id: Id) -> bool {
        self.pending(id).is_some_and(|pending| pending.owner == me)
    }

    pub fn held_by(&self, me: &str) -> Vec<Id> {
        let Some(group) = &self.group else { return Vec::new() };
        group.pending.iter().filter(|(_, pending)| pending.owner == me).map(|(id, _)| *id).collect()
    }

    pub fn no_group(&self) -> Option<Value> {
        if !self.has_stream {
            return Some(error("no such key"));
        }
        if self.group.is_none() { Some(error("NOGROUP")) } else { None }
    }

    /// The entry is pending for `me` from this moment on.
    pub fn give(&mut self, id: Id, me: &str, since: i64, deliveries: u64) {
        let group = self.group.as_mut().expect("there is a group");
        group.pending.insert(id, Pending { owner: me.to_owned(), since, deliveries });
    }

    pub fn clock(&self) -> i64 {
        i64::try_from(self.now).expect("a time")
    }

    /// When what is given back seems to have been renewed last.
    pub fn long_ago(&self) -> i64 {
        self.clock() - 3_600_000
    }

    pub fn acknowledge(&mut self, id: Id) {
        if let Some(group) = &mut self.group {
            group.pending.remove(&id);
        }
    }

    pub fn set(&mut self, name: &'static str, value: impl std::fmt::Display) {
        self.sweep.insert(name, format!("{value}"));
    }

    pub fn number(&self, name: &str) -> u64 {
        self.sweep.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The largest existing id such that it and all before it are settled.
    pub fn watermark(&self) -> Option<Id> {
        let group = self.group.as_ref()?;
        let Some((&oldest, _)) = group.pending.first_key_value() else { return Some(group.delivered) };
        self.entries.range(..oldest).next_back().map(|&below| below.min(group.delivered))
    }

    /// The mirror follows. What it is set to must leave the same entries behind it as the watermark does: of ids between which
    /// no entry is, any will do, as long as no pending entry is behind it.
    /// Answers the move, the mirror, and what another program had written.
    /// Where pending records were removed from outside it may stay where it was.
    pub fn follow(&mut self, seen: &Seen) -> [String; 3] {
        let held = self.mirror.as_deref().and_then(Id::parse);
        let (delivered, oldest) = {
            let group = self.group.as_ref().expect("there is a group");
            (group.delivered, group.pending.first_key_value().map(|(&id, _)| id))
        };
        let exact = match (self.watermark(), oldest, held) {
            (Some(mark), ..) => mark,
            (None, Some(oldest), Some(held)) if held < oldest => held,
            _ => Id::ZERO,
        };
        let is_as_good = |mark: Id| {
            let between = self.entries.range(mark.min(exact)..=mark.max(exact)).filter(|&&id| id != mark.min(exact));
            between.count() == 0 && oldest.is_some_and(|oldest| mark < oldest) && mark <= delivered.max(exact)
        };
        let stays = |mark: Id| {
            let is_before = mark < exact && oldest.is_some_and(|oldest| mark < oldest);
            self.may_lag && is_before && Some(mark) == held && self.mirror == self.shadow
        };
        let mark = seen.mirror.filter(|&mark| is_as_good(mark) || stays(mark)).unwrap_or(exact);
        self.may_lag &= mark < exact;
        let text = mark.to_string();
        let before = self.mirror.clone();
        let foreign = match (&before, &self.shadow) {
            (Some(held), Some(shadow)) if held != shadow => held.clone(),
            _ => String::new(),
        };
        let way = match held {
            _ if self.mirror.as_ref() == Some(&text) && self.shadow.as_ref() == Some(&text) => "same",
            Some(held) if held == mark => "same",
            Some(held) if held > mark => "lowered",
            _ => "raised",
        };
        self.mirror = Some(text.clone());
        self.shadow = Some(text.clone());
        [way.to_owned(), text, foreign]
    }

    /// Whether this replica is there, by its own claim idle.
    pub fn is_there(&self, presence: &Presence) -> bool {
        !matches!(presence.state, "left" | "dead")
            && presence.seen + CLAIM_IDLE > self.now
            && presence.seen <= self.now + CLAIM_IDLE
    }

    pub fn append_result(&mut self, source: Option<Id>, outcome: &'static str, code: &'static str) -> Id {
        let id = self.last_result.after(self.now);
        self.results.insert(id, (source, outcome, code));
        self.last_result = id;
        id
    }

    pub fn append_letter(&mut self, letter: Letter) {
        let id = self.last_dead.after(self.now);
        if letter.outcome.is_none() {
            self.answered_by_letter.insert(letter.source);
        }
        self.dead.insert(id, letter);
        self.last_dead = id;
    }

    /// Everything that can be seen, in the order of `observe.lua`.
    pub fn observe(&self) -> Vec<(&'static str, Value)> {
        let text = |option: &Option<String>| option.clone().map_or(Value::Nil, Value::Text);
        let pairs = |map: Vec<(String, String)>| Value::texts(map.into_iter().flat_map(|(name, value)| [name, value]));
        let pending = self.group.as_ref().map_or(Value::Nil, |group| {
            let row = |(id, one): (&Id, &Pending)| {
                Value::texts([
                    id.to_string(),
                    one.owner.clone(),
                    (self.clock() - one.since).to_string(),
                    one.deliveries.to_string(),
                ])
            };
            Value::List(group.pending.iter().map(row).collect())
        });
        let result = |(id, (source, outcome, code)): (&Id, &(Option<Id>, &str, &str))| {
            let source = source.map(|id| id.to_string()).unwrap_or_default();
            Value::texts([id.to_string(), source, (*outcome).to_owned(), (*code).to_owned()])
        };
        let letter = |(id, letter): (&Id, &Letter)| {
            let outcome = letter.outcome.map(|id| id.to_string()).unwrap_or_default();
            Value::texts([id.to_string(), letter.source.to_string(), letter.reason.to_owned(), outcome])
        };
        let mut ledger: Vec<String> = self.ledger.values().flatten().map(Id::to_string).collect();
        ledger.sort();
        let presence = |(name, one): (&String, &Presence)| {
            let lost = one.lost.map(|ms| format!(r#""lost_ms":{ms},"#)).unwrap_or_default();
            let died = one.died.map(|ms| format!(r#""died_ms":{ms},"#)).unwrap_or_default();
            let heard =
                one.heard.map(|(ms, of)| format!(r#""heard_ms":{ms},"gen":{of},"run":"{RUN}","#)).unwrap_or_default();
            let head = format!(r#"{{{died}{lost}"born_ms":{},"since_ms":{},{heard}"#, one.born, one.since);
            (name.clone(), format!("{} {} {head}{}", one.seen, one.state, &one.about[1..]))
        };
        vec![
            ("entries", Value::texts(&self.entries)),
            ("last delivered", self.group.as_ref().map_or(Value::Nil, |group| Value::text(group.delivered))),
            ("pending", pending),
            ("results", Value::List(self.results.iter().map(result).collect())),
            ("dead letters", Value::List(self.dead.iter().map(letter).collect())),
            ("mirror", text(&self.mirror)),
            ("shadow", text(&self.shadow)),
            ("verified", self.verified.map_or(Value::Nil, Value::text)),
            ("ledger", Value::texts(ledger)),
            ("ledger's index", pairs(self.index.iter().map(|(hour, ms)| (hour.to_string(), ms.to_string())).collect())),
            ("attempts", pairs(self.attempts())),
            ("replicas", pairs(self.presences.iter().map(presence).collect())),
            ("sweep", pairs(self.sweep.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect())),
            ("pause", Value::text(u8::from(self.is_paused))),
            ("records", pairs(self.records.observe())),
        ]
    }

    fn attempts(&self) -> Vec<(String, String)> {
        let mut fields = BTreeMap::new();
        for (id, past) in &self.past {
            let mut put = |name: &str, text: Option<String>| {
                let prefix = if name.is_empty() { String::new() } else { format!("{name}:") };
                text.map(|text| fields.insert(format!("{prefix}{id}"), text))
            };
            put("", past.counts.map(|(crashes, failures, since)| format!("{crashes} {failures} {since}")));
            put("age", past.age.map(|age| age.to_string()));
            put("alone", past.alone.clone());
            put("excused", past.excused.map(|times| times.to_string()));
            put("cancel", past.cancel.clone());
            put("retry", past.retry.clone());
            let handed =
                |one: &Handed| format!("{} {} {}\n{}\n{}", one.times, one.at, one.deliveries, one.to, one.dead_owner);
            put("handed", past.handed.as_ref().map(handed));
        }
        for (name, (ms, ids)) in self.charges.iter().filter(|(_, (_, ids))| !ids.is_empty()) {
            let words: Vec<String> = [ms.to_string()].into_iter().chain(ids.iter().map(Id::to_string)).collect();
            fields.insert(format!("charges:{name}"), words.join(" "));
        }
        fields.into_iter().collect()
    }

    pub fn past_of(&mut self, id: Id) -> &mut Past {
        self.past.entry(id).or_default()
    }

    pub fn counts(&self, id: Id) -> (u64, u64, u64) {
        self.past.get(&id).and_then(|past| past.counts).unwrap_or_default()
    }

    /// Is anything written down about any job?
    pub fn has_past(&self) -> bool {
        !self.charges.is_empty() || self.past.values().any(|past| *past != Past::default())
    }
}
