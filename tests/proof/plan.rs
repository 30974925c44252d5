//! Sequences as texts, and what each step of one means at the moment when it is its turn.
//!
//! A step is a word and small numbers. What these select, they select by what is there then, so that a sequence still means
//! something after any of its steps have been removed.

use std::collections::BTreeSet;
use std::fmt;

use crate::call::{Call, End};
use crate::ids::Id;
use crate::model::Model;
use crate::model::record::{Job, Label, Token, Verb};
use crate::real::BEGIN_MS;
use crate::wire::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub word: &'static str,
    pub numbers: Vec<u64>,
}

/// Every word, and how many numbers follow it.
pub const WORDS: &[(&str, usize)] = &[
    ("append", 1),
    ("read", 3),
    ("settle", 4),
    ("fail", 3),
    ("withdraw", 3),
    ("ask", 1),
    ("renew", 2),
    ("sweep", 5),
    ("back", 3),
    ("over", 3),
    ("leave", 1),
    ("late", 3),
    ("adopt", 1),
    ("tidy", 2),
    ("destroy", 0),
    ("dropconsumer", 1),
    ("ack", 1),
    ("delete", 1),
    ("trim", 1),
    ("setid", 1),
    ("lower", 0),
    ("pass", 1),
    ("crash", 1),
    ("subscribe", 1),
    ("cut", 1),
    ("snapshot", 0),
    ("restore", 0),
    ("legacy", 1),
    ("requeue", 1),
    ("removedead", 1),
    ("cancel", 2),
    ("retry", 1),
    ("tell", 1),
    ("pause", 0),
    ("resume", 0),
    ("begin", 6),
    ("token", 5),
    ("container", 4),
    ("abandon", 4),
    ("stop", 3),
    ("fleet", 4),
];

/// Lengths of time, in ms.
const TIMES: [u64; 13] =
    [1, 500, 5_000, 10_000, 12_500, 15_001, 30_000, 31_000, 61_000, 3_600_000, 7_200_001, 90_000_000, 100];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)?;
        self.numbers.iter().try_for_each(|number| write!(f, " {number}"))
    }
}

impl Step {
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split_whitespace();
        let name = parts.next()?;
        let &(word, _) = WORDS.iter().find(|(word, _)| *word == name)?;
        Some(Self { word, numbers: parts.map(|part| part.parse().ok()).collect::<Option<_>>()? })
    }

    fn number(&self, position: usize) -> u64 {
        self.numbers.get(position).copied().unwrap_or(0)
    }
}

/// One replica, as it knows itself.
#[derive(Debug, Clone)]
pub struct Process {
    pub name: String,
    pub held: BTreeSet<Id>,
    known: BTreeSet<Id>,
    /// Of its subscription, and whether it has one now.
    generation: u64,
    is_subscribed: bool,
}

/// What is not in Redis: processes, what they remember, and which jobs there have been.
pub struct Memory {
    pub processes: Vec<Process>,
    former: Vec<Process>,
    lives: u64,
    pub ids: Vec<Id>,
    tokens: Vec<(u64, Token)>,
    lowered: u64,
    pub has_snapshot: bool,
}

impl Memory {
    pub fn new() -> Self {
        let mut memory = Self {
            processes: Vec::new(),
            former: Vec::new(),
            lives: 0,
            ids: Vec::new(),
            tokens: Vec::new(),
            lowered: 0,
            has_snapshot: false,
        };
        for slot in 0..4 {
            let process = memory.born(slot);
            memory.processes.push(process);
        }
        memory
    }

    /// A name is used by one process only.
    fn born(&mut self, slot: usize) -> Process {
        self.lives += 1;
        let letter = char::from(b'a' + u8::try_from(slot).expect("four"));
        Process {
            name: format!("{letter}{}.{}", slot % 2, self.lives),
            held: BTreeSet::new(),
            known: BTreeSet::new(),
            generation: 0,
            is_subscribed: false,
        }
    }

    /// The process is gone, and another one takes its place.
    pub fn replace(&mut self, slot: usize) {
        let next = self.born(slot);
        self.former.push(std::mem::replace(&mut self.processes[slot], next));
        if self.former.len() > 4 {
            self.former.remove(0);
        }
    }

    fn slot(&self, number: u64) -> usize {
        usize::try_from(number).expect("small") % self.processes.len()
    }

    fn id(&self, number: u64) -> Option<Id> {
        pick(&self.ids, number)
    }

    /// The calls of a step; none where there is nothing to do.
    pub fn plan(&mut self, step: &Step, model: &Model) -> Vec<Call> {
        let n = |position| step.number(position);
        let slot = self.slot(n(0));
        let me = self.processes[slot].name.clone();
        let generation = if self.processes[slot].is_subscribed { self.processes[slot].generation } else { 0 };
        let held: Vec<Id> = self.processes[slot].held.iter().copied().collect();
        let one = |id: Option<Id>, call: fn(Id) -> Call| id.map(call).into_iter().collect::<Vec<_>>();
        match step.word {
            "append" => vec![Call::Append; 1 + n(0) as usize % 4],
            "read" => vec![Call::Read { me, count: 1 + n(1) % 4, is_lost: n(2) % 8 == 0 }],
            "settle" => {
                let call = Self::settle(&self.processes[slot], n(1), n(2));
                let times = if n(3) % 4 == 0 { 2 } else { 1 };
                call.map_or(Vec::new(), |call| vec![call; times])
            }
            "fail" => one_of(&held, n(1), |id| Call::Fail { me, id, passed: TIMES[n(2) as usize % 6] }),
            "withdraw" => {
                one_of(&self.failed(model), n(1), |id| Call::Withdraw { me, counts: vec![(id, 1 + n(2) % 3)] })
            }
            "ask" if held.is_empty() => Vec::new(),
            "ask" => vec![Call::History { me, ids: held }],
            "renew" => vec![Call::Renew { me, serves: n(1) % 8 != 0, ids: held, generation }],
            "sweep" => {
                let mode = ["take", "take", "take", "look", "alone", "another", "watch"][n(1) as usize % 7];
                let holds_nothing = held.is_empty() && n(3) % 4 != 0;
                vec![Call::Sweep {
                    me,
                    mode,
                    want: 1 + n(2) as usize % 5,
                    holds_nothing,
                    is_lost: n(4) % 10 == 0,
                    generation,
                }]
            }
            "back" => chosen(&held, n(1), |ids| Call::HandBack { me, ids, rewinds: n(2) % 3 != 0 }),
            "over" => {
                let host = ["h0", "h1", "*"][n(2) as usize % 3].to_owned();
                let orders = |ids: Vec<Id>| ids.into_iter().map(|id| (id, host.clone())).collect();
                chosen(&held, n(1), |ids| Call::HandOver { me, orders: orders(ids) })
            }
            "leave" => vec![Call::Leave { me }],
            "late" => self.late(n(0), n(1), n(2)),
            "adopt" => vec![Call::Adopt { me }],
            "tidy" => vec![Call::Tidy { me, trims: n(1) % 2 == 1 }],
            "destroy" => vec![Call::Destroy],
            "dropconsumer" => vec![Call::DropConsumer(me)],
            "ack" => one_of(&pending_ids(model), n(0), Call::Ack),
            "delete" => {
                one(pick(&pending_ids(model), n(0) / 2).filter(|_| n(0) % 2 == 0).or(self.id(n(0))), Call::Delete)
            }
            "trim" => vec![Call::TrimTo(n(0) % 6)],
            "setid" => {
                let ids: Vec<Id> = [Id::ZERO].into_iter().chain(model.entries.iter().copied()).collect();
                one_of(&ids, n(0), Call::SetId)
            }
            "lower" => {
                self.lowered += 1;
                vec![Call::DropStream, Call::AppendAt(Id { ms: BEGIN_MS - 3_600_000 - 1_000 * self.lowered, seq: 1 })]
            }
            "pass" => vec![Call::Pass(TIMES[n(0) as usize % TIMES.len()])],
            // Its kernel closes its connections; one that only stands still keeps them.
            "crash" => {
                let is_cut = self.processes[slot].is_subscribed && n(0) % 3 != 0;
                self.replace(slot);
                if is_cut { vec![Call::Unsubscribe(me)] } else { Vec::new() }
            }
            "subscribe" => {
                let process = &mut self.processes[slot];
                process.generation += 1;
                process.is_subscribed = true;
                vec![Call::Subscribe(me)]
            }
            "cut" => {
                // It may not know yet.
                self.processes[slot].is_subscribed &= n(0) / 4 % 2 == 1;
                vec![Call::Unsubscribe(me)]
            }
            "snapshot" => {
                self.has_snapshot = true;
                vec![Call::Snapshot]
            }
            "restore" if !self.has_snapshot => Vec::new(),
            // The clock goes on, so that no id is given twice.
            "restore" => vec![Call::Restore, Call::Pass(1_000)],
            "legacy" => vec![Call::Legacy(1 + n(0) as usize % 3)],
            "requeue" => {
                one_of(&model.dead.keys().copied().collect::<Vec<_>>(), n(0), |id| Call::Requeue { ids: vec![id, id] })
            }
            "removedead" => one_of(&model.dead.keys().copied().collect::<Vec<_>>(), n(0), |id| Call::RemoveDead {
                ids: vec![id, id],
            }),
            "cancel" => self.id(n(0)).map(|id| Call::Cancel { id, only_marks: n(1) % 3 == 0 }).into_iter().collect(),
            "retry" => pick(&pending_ids(model), n(0) / 2)
                .filter(|_| n(0) % 2 == 0)
                .or(self.id(n(0)))
                .map(|id| Call::RetryNow { id })
                .into_iter()
                .collect(),
            "tell" => vec![Call::Tell { me, ids: held }],
            "pause" => vec![Call::Pause],
            "resume" => vec![Call::Resume],
            _ => self.of_record(step, &me, model),
        }
    }

    /// Jobs with failures, where there are any.
    fn failed(&self, model: &Model) -> Vec<Id> {
        let failed: Vec<Id> = model.past.keys().copied().filter(|&id| model.counts(id).1 > 0).collect();
        if failed.is_empty() { self.ids.clone() } else { failed }
    }

    fn settle(process: &Process, mask: u64, kind: u64) -> Option<Call> {
        let mut ids = masked(&process.held.iter().copied().collect::<Vec<_>>(), mask);
        let hour = ids.first()?.hour();
        ids.retain(|id| id.hour() == hour);
        let end = |position: usize, id: &Id| {
            if process.known.contains(id) {
                return End::Known;
            }
            match (kind + position as u64) % 8 {
                0 => End::Malformed,
                1 => End::GivenUp,
                2 if kind.is_multiple_of(5) => End::Known,
                _ => End::Success,
            }
        };
        let batch = ids.iter().enumerate().map(|(position, id)| (*id, end(position, id))).collect();
        Some(Call::Settle { me: process.name.clone(), batch, held: process.held.len() })
    }

    /// A call of a process that is gone arrives now.
    fn late(&self, which: u64, kind: u64, mask: u64) -> Vec<Call> {
        let newest = self.former.last().cloned().filter(|_| which.is_multiple_of(2));
        let Some(process) = newest.or(pick(&self.former, which)) else { return Vec::new() };
        let (me, held) = (process.name.clone(), process.held.iter().copied().collect::<Vec<_>>());
        match kind % 6 {
            0 | 1 => Self::settle(&process, mask, mask).into_iter().collect(),
            2 => vec![Call::Renew { me, serves: true, ids: held, generation: 0 }],
            3 => chosen(&held, mask, |ids| Call::HandBack { me, ids, rewinds: true }),
            4 => one_of(&held, mask, |id| Call::Fail { me, id, passed: 500 }),
            _ => vec![Call::Sweep { me, mode: "take", want: 4, holds_nothing: true, is_lost: true, generation: 0 }],
        }
    }

    fn of_record(&mut self, step: &Step, me: &str, model: &Model) -> Vec<Call> {
        let n = |position| step.number(position);
        let text = str::to_owned;
        let game = n(1) % 2;
        let names = model.records.containers(game);
        let container = |number: u64| {
            pick(&names, number / 4).filter(|_| !number.is_multiple_of(3)).unwrap_or(format!("c{}", number % 3))
        };
        let job = |number: u64| Job {
            source: self
                .ids
                .last()
                .copied()
                .filter(|_| number.is_multiple_of(2))
                .or(self.id(number))
                .unwrap_or(Id { ms: BEGIN_MS, seq: 0 }),
            image: format!("i{}", number % 5 % 2),
        };
        let tokens: Vec<Token> =
            self.tokens.iter().filter(|(of, _)| *of == game).map(|(_, token)| token.clone()).collect();
        let label = |number: u64, token: Option<Token>| Label {
            container: container(number),
            fence: token.as_ref().map_or(1, |token| token.fence + u64::from(number.is_multiple_of(7))),
            owner: token.as_ref().map_or_else(|| text(me), |token| token.owner.clone()),
            job: token.map_or_else(|| job(number), |token| token.job),
        };
        // The newest one more often than any other.
        let token =
            |number: u64| if number.is_multiple_of(3) { pick(&tokens, number / 3) } else { tokens.last().cloned() };
        let verb = match step.word {
            "begin" => {
                let bit = |position: u64| n(4) >> position & 1 == 1;
                let other = token(n(5)).map(|token| token.owner).unwrap_or_default();
                let blocking = self.id(n(5)).map(|id| id.to_string()).unwrap_or_default();
                Verb::Begin {
                    me: text(me),
                    job: job(n(2)),
                    dead: if bit(0) && bit(1) { container(n(3)) } else { String::new() },
                    gone: if bit(2) { blocking } else { String::new() },
                    dead_owner: if bit(3) && bit(4) { other } else { String::new() },
                    dead_host: if bit(5) && bit(6) { format!("h{}", n(5) % 2) } else { String::new() },
                    most: if bit(7) { Some(n(5) % 3) } else { None },
                }
            }
            "token" => {
                let Some(held) = token(n(2)) else { return Vec::new() };
                match n(3) % 12 {
                    0 => Verb::Fence(held),
                    1 => Verb::Renew(held),
                    2 => Verb::Release(held, n(4) % 2 == 0),
                    3 => Verb::Condemn(held, container(n(4))),
                    4 | 5 | 9 | 10 | 11 => {
                        Verb::Commit(held, Some((format!("c{}", n(4) % 3), text("http://c"))), String::new())
                    }
                    6 => Verb::Commit(held, None, if n(4) % 2 == 0 { container(n(4)) } else { String::new() }),
                    7 => Verb::Room(held, Some(n(4) % 2).filter(|most| *most > 0)),
                    _ => Verb::Yield(held, label(n(4), token(n(4) + 1))),
                }
            }
            "container" => match n(2) % 8 {
                0 => Verb::Disown(container(n(3))),
                1 | 2 => Verb::Reap { me: text(me), label: label(n(3), token(n(3))), only_asks: n(3) % 4 == 0 },
                3 => Verb::Removed(container(n(3))),
                4 => Verb::Ended(container(n(3))),
                5 => Verb::Moved(container(n(3)), format!("h{}", n(3) % 2)),
                6 => Verb::Revived(container(n(3)), format!("h{}", n(3) % 2)),
                _ => Verb::Rebuild { me: text(me), label: label(n(3), token(n(3))) },
            },
            "abandon" => {
                let container = if n(3) % 2 == 0 { container(n(3)) } else { String::new() };
                Verb::Abandon { me: text(me), job: job(n(2)), container }
            }
            "stop" => Verb::Stop { host: ["", "h0", "h1"][n(2) as usize % 3].to_owned(), is_gone: n(2) % 5 == 0 },
            _ => {
                let host = format!("h{}", n(3) % 2);
                match n(2) % 8 {
                    0 | 1 => Verb::Beat(host, format!("k{}", n(3) % 3 / 2)),
                    2 => Verb::Forget(host),
                    3 => Verb::Tick(host, text(me)),
                    4 => Verb::Fleet(if n(3) % 2 == 0 { text("first") } else { String::new() }),
                    5 => Verb::Unlist(host),
                    6 => Verb::Probe,
                    _ => Verb::Show,
                }
            }
        };
        vec![Call::Record { game, verb }]
    }

    /// What the processes learn from an answer.
    pub fn hear(&mut self, call: &Call, answer: &Value) {
        let texts = |value: &Value| value.list().iter().map(|one| one.as_text().to_owned()).collect::<Vec<_>>();
        let slot_of = |processes: &[Process], name: &str| processes.iter().position(|process| process.name == name);
        match call {
            Call::Append | Call::AppendAt(_) => self.ids.extend(Id::parse(answer.as_text())),
            Call::Requeue { .. } => {
                self.ids.extend(answer.list().iter().filter_map(|one| Id::parse(one.list()[1].as_text())));
            }
            Call::Read { me, is_lost, .. } => {
                let Some(slot) = slot_of(&self.processes, me).filter(|_| !is_lost) else { return };
                self.processes[slot].held.extend(texts(answer).iter().filter_map(|id| Id::parse(id)));
            }
            Call::Sweep { me, is_lost, .. } => {
                let Some(slot) = slot_of(&self.processes, me).filter(|_| !is_lost) else { return };
                let Some(claimed) = answer.list().get(3) else { return };
                let ids = claimed.list().iter().filter_map(|row| Id::parse(row.list()[0].as_text()));
                self.processes[slot].held.extend(ids);
            }
            Call::Settle { me, batch, .. } => {
                let Some(slot) = slot_of(&self.processes, me) else { return };
                if let Value::List(_) = answer {
                    self.processes[slot].held.retain(|held| !batch.iter().any(|(id, _)| id == held));
                }
            }
            Call::Renew { me, ids, .. } => {
                let Some(slot) = slot_of(&self.processes, me) else { return };
                let [_, words, strays, _] = answer.list() else { return };
                for (id, word) in ids.iter().zip(texts(words)) {
                    if matches!(word.as_str(), "other" | "settled" | "absent") {
                        self.processes[slot].held.remove(id);
                    }
                }
                self.processes[slot].held.extend(texts(strays).chunks(4).filter_map(|words| Id::parse(&words[0])));
            }
            Call::HandBack { me, ids, .. } => {
                let Some(slot) = slot_of(&self.processes, me) else { return };
                self.processes[slot].held.retain(|held| !ids.contains(held));
            }
            Call::HandOver { me, orders } => {
                let Some(slot) = slot_of(&self.processes, me) else { return };
                for ((id, _), words) in orders.iter().zip(texts(answer).chunks(2)) {
                    if words[0] == "handed" || words[0] == "lost" {
                        self.processes[slot].held.remove(id);
                    }
                }
            }
            Call::Leave { me } => {
                if let Some(slot) = slot_of(&self.processes, me) {
                    self.replace(slot);
                }
            }
            Call::History { me, ids } => {
                let Some(slot) = slot_of(&self.processes, me) else { return };
                let Some(past) = answer.list().first() else { return };
                for (id, words) in ids.iter().zip(texts(past).chunks(3)) {
                    if words[0] == "1" {
                        self.processes[slot].known.insert(*id);
                    }
                }
            }
            Call::Record { game, verb: Verb::Begin { me, job, .. } } => {
                let words = texts(answer);
                let numbers = match words.first().map(String::as_str) {
                    Some("first") => (1, 1),
                    Some("go") => (words[2].parse().unwrap_or(0), words[3].parse().unwrap_or(0)),
                    _ => return,
                };
                let token = Token { owner: me.clone(), fence: numbers.0, attempt: numbers.1, job: job.clone() };
                self.tokens.push((*game, token));
                if self.tokens.len() > 8 {
                    self.tokens.remove(0);
                }
            }
            _ => {}
        }
    }
}

fn pending_ids(model: &Model) -> Vec<Id> {
    model.group.as_ref().map_or(Vec::new(), |group| group.pending.keys().copied().collect())
}

fn pick<T: Clone>(list: &[T], number: u64) -> Option<T> {
    let count = u64::try_from(list.len()).expect("few");
    if count == 0 { None } else { list.get(usize::try_from(number % count).expect("few")).cloned() }
}

fn one_of(list: &[Id], number: u64, call: impl FnOnce(Id) -> Call) -> Vec<Call> {
    pick(list, number).map(call).into_iter().collect()
}

/// Those whose bits are set; all of them where none is.
fn masked(list: &[Id], mask: u64) -> Vec<Id> {
    let some: Vec<Id> =
        list.iter().enumerate().filter(|(bit, _)| mask >> (bit % 16) & 1 == 1).map(|(_, id)| *id).collect();
    if some.is_empty() { list.to_vec() } else { some }
}

fn chosen(list: &[Id], mask: u64, call: impl FnOnce(Vec<Id>) -> Call) -> Vec<Call> {
    let ids = masked(list, mask);
    if ids.is_empty() { Vec::new() } else { vec![call(ids)] }
}
