//! A sequence, step by step on both sides, and then until nothing is left to do.

use std::collections::{BTreeMap, BTreeSet};

use crate::call::{Call, End, LEDGER_TTL};
use crate::ids::Id;
use crate::model::Model;
use crate::plan::{Memory, Step};
use crate::real::{BEGIN_MS, Observed, Real};
use crate::wire::Value;

/// Rounds of ten seconds within which everything must be answered.
const ROUNDS_MAX: usize = 60;

struct Both<'a> {
    real: &'a mut Real,
    model: Model,
    memory: Memory,
    saved: Option<Model>,
    consumers: BTreeSet<String>,
    /// When each consumer called last.
    touched: BTreeMap<String, u64>,
    /// Words that were answered, for those who ask what the sequences reach.
    pub reached: BTreeMap<String, u64>,
}

/// Runs the steps; answers what differed first, or how often each answer was given.
pub fn run(real: &mut Real, steps: &[Step]) -> Result<BTreeMap<String, u64>, String> {
    real.clear();
    let model = Model { now: BEGIN_MS, ..Model::default() };
    let (consumers, touched) = (BTreeSet::new(), BTreeMap::new());
    let mut both =
        Both { real, model, memory: Memory::new(), saved: None, consumers, touched, reached: BTreeMap::new() };
    for (position, step) in steps.iter().enumerate() {
        for call in both.memory.plan(step, &both.model) {
            both.call(&call).map_err(|why| format!("step {}, `{step}`: {why}", position + 1))?;
        }
    }
    both.rest().map_err(|why| format!("at rest: {why}"))?;
    Ok(both.reached)
}

impl Both<'_> {
    fn call(&mut self, call: &Call) -> Result<Value, String> {
        let answer = self.real.call(call);
        let observed = self.real.observe();
        match call {
            Call::Snapshot => self.saved = Some(self.model.clone()),
            Call::Restore => {
                if let Some(saved) = &self.saved {
                    let subscribed = std::mem::take(&mut self.model.subscribed);
                    self.model = Model { now: self.model.now, subscribed, ..saved.clone() };
                }
            }
            _ => {}
        }
        let expected = self.model.apply(call, &observed.seen());
        self.model.records.set_now(self.model.now);
        if !expected.allows(&answer) {
            let words = &self.real.wire.last_error;
            return Err(format!("{call:?}\n  expected {expected:?}\n  answered {answer:?} (last error: {words})"));
        }
        for ((name, expected), seen) in self.model.observe().iter().zip(&observed.sections) {
            if expected != seen {
                return Err(format!(
                    "{call:?} answered {answer:?}\n  {name}\n  expected {expected:?}\n  observed {seen:?}"
                ));
            }
        }
        if let Some(why) = self.model.broken.pop() {
            return Err(format!("{call:?}: {why}"));
        }
        self.check_consumers(call, &answer, observed)?;
        self.memory.hear(call, &answer);
        self.count(call, &answer);
        Ok(answer)
    }

    fn count(&mut self, call: &Call, answer: &Value) {
        let name = format!("{call:?}").split([' ', '(']).next().unwrap_or_default().to_owned();
        let verb = if let Call::Record { verb, .. } = call { format!("{verb:?}") } else { String::new() };
        let verb = verb.split([' ', '(']).next().unwrap_or_default().to_owned();
        let mut words = Vec::new();
        collect(answer, &mut words);
        if let (Call::Sweep { .. }, Some(Value::List(deaths))) = (call, answer.list().get(2)) {
            let kinds = ["(declared dead)", "(silent)", "(crash counted)", "(crash withdrawn)"];
            let is_there = |value: &Value| !value.list().is_empty() || !matches!(value.as_text(), "" | "0");
            words.extend(kinds.into_iter().zip(deaths).filter(|(_, value)| is_there(value)).map(|(kind, _)| kind));
        }
        if let (Call::Leave { .. }, [_, Value::Text(count)]) = (call, answer.list())
            && count != "0"
        {
            words.push("(crash taken back)");
        }
        words.sort_unstable();
        words.dedup();
        for word in words {
            *self.reached.entry(format!("{name}{verb} {word}")).or_default() += 1;
        }
    }

    /// Consumers come and go in more ways than one; these are the bounds.
    fn check_consumers(&mut self, call: &Call, answer: &Value, observed: Observed) -> Result<(), String> {
        let before = std::mem::replace(&mut self.consumers, observed.consumers);
        let me = match call {
            Call::Read { me, .. }
            | Call::Settle { me, .. }
            | Call::Renew { me, .. }
            | Call::Sweep { me, .. }
            | Call::HandBack { me, .. }
            | Call::HandOver { me, .. }
            | Call::Leave { me }
            | Call::Adopt { me }
            | Call::Tidy { me, .. }
            | Call::Fail { me, .. } => Some(me.clone()),
            _ => None,
        };
        let gone: Vec<&String> = before.difference(&self.consumers).collect();
        match call {
            Call::Destroy | Call::DropStream | Call::DropConsumer(_) | Call::Restore => {}
            Call::Leave { me } => {
                let is_empty = self.model.held_by(me).is_empty();
                let is_there = self.consumers.contains(me);
                if is_empty == is_there && before.contains(me) {
                    return Err(format!("{call:?}: its consumer is there: {is_there}, and holds nothing: {is_empty}"));
                }
            }
            Call::Sweep { .. } => {
                let from = answer.list().get(5).map_or(&[][..], Value::list);
                let has_left = |name: &str| {
                    let presence = self.model.presences.get(name);
                    presence.is_some_and(|one| one.state == "left") && self.model.held_by(name).is_empty()
                };
                for row in from {
                    let name = row.list()[0].as_text();
                    if has_left(name) && self.consumers.contains(name) {
                        return Err(format!("{call:?}: the consumer {name} has left, holds nothing and is there"));
                    }
                }
                if let Some(name) = gone.iter().find(|name| !has_left(name)) {
                    return Err(format!("{call:?} removed the consumer {name}"));
                }
            }
            Call::Tidy { .. } if *answer != Value::Nil => {
                for name in &before {
                    let touched = self.touched.get(name).copied().unwrap_or(BEGIN_MS);
                    let is_there = self.consumers.contains(name);
                    if self.model.may_be_removed(name, touched) == Some(is_there) {
                        return Err(format!("{call:?}: the consumer {name} is there afterwards: {is_there}"));
                    }
                }
            }
            _ => {
                if let Some(name) = gone.first() {
                    return Err(format!("{call:?} removed the consumer {name}"));
                }
            }
        }
        if let Some(me) = me {
            self.touched.insert(me, self.model.now);
        }
        if let Call::HandOver { .. } = call {
            let now = self.model.now;
            self.touched.extend(self.consumers.iter().map(|name| (name.clone(), now)));
        }
        Ok(())
    }

    /// Every process dies, and a new one does what is left.
    fn rest(&mut self) -> Result<(), String> {
        for slot in 0..self.memory.processes.len() {
            self.memory.replace(slot);
        }
        self.call(&Call::Resume)?;
        let me = self.memory.processes[0].name.clone();
        self.call(&Call::Adopt { me: me.clone() })?;
        let mut quiet = 0;
        for round in 0..ROUNDS_MAX {
            self.renew(&me)?;
            let mut is_busy = false;
            if round > 3 {
                is_busy = self.turn(&me)?;
            }
            let tidied = self.call(&Call::Tidy { me: me.clone(), trims: false })?;
            let has_orphans = tidied.list().get(1).is_some_and(|orphans| !orphans.list().is_empty());
            let is_open =
                is_busy || has_orphans || self.model.group.as_ref().is_none_or(|group| !group.pending.is_empty());
            // Two runs of the janitor that find nothing.
            quiet = if is_open { 0 } else { quiet + usize::from(tidied != Value::Nil) };
            if quiet == 2 {
                return self.is_answered();
            }
            self.call(&Call::Pass(10_000))?;
        }
        Err(format!("not everything is answered after {ROUNDS_MAX} rounds"))
    }

    fn held(&self) -> Vec<Id> {
        self.memory.processes[0].held.iter().copied().collect()
    }

    fn renew(&mut self, me: &str) -> Result<(), String> {
        self.call(&Call::Renew { me: me.to_owned(), serves: true, ids: self.held(), generation: 0 }).map(drop)
    }

    /// Answers whether there was anything to do.
    fn turn(&mut self, me: &str) -> Result<bool, String> {
        let sweep = |mode, holds_nothing| Call::Sweep {
            me: me.to_owned(),
            mode,
            want: 50,
            holds_nothing,
            is_lost: false,
            generation: 0,
        };
        let answer = self.call(&sweep("take", true))?;
        if answer.list()[0].as_text() == "suspects" {
            self.call(&sweep("alone", true))?;
        }
        self.call(&Call::Read { me: me.to_owned(), count: 50, is_lost: false })?;
        let held = self.held();
        let hours: BTreeSet<u64> = held.iter().map(|id| id.hour()).collect();
        for hour in hours {
            let batch: Vec<(Id, End)> =
                held.iter().filter(|id| id.hour() == hour).map(|id| (*id, End::Success)).collect();
            self.call(&Call::Settle { me: me.to_owned(), held: batch.len(), batch })?;
        }
        Ok(!held.is_empty())
    }

    fn is_answered(&self) -> Result<(), String> {
        let model = &self.model;
        let mirror = model.mirror.as_deref().and_then(Id::parse).ok_or("there is no mirror")?;
        if let Some(id) = model.entries.range(mirror..).find(|&&id| id > mirror) {
            return Err(format!("all is settled, and {id} lies above the mirror {mirror}"));
        }
        let mut answers: BTreeMap<Id, usize> = BTreeMap::new();
        for source in model.results.values().filter_map(|(source, ..)| *source) {
            *answers.entry(source).or_default() += 1;
        }
        for source in &model.answered_by_letter {
            *answers.entry(*source).or_default() += 1;
        }
        let is_young = |id: &Id| id.ms + LEDGER_TTL >= model.now;
        if let Some((id, count)) = answers.iter().find(|(id, count)| is_young(id) && **count > 1) {
            return Err(format!("{id} has {count} answers"));
        }
        let is_expected = |id: &&Id| is_young(id) && !model.excused.contains(id);
        match model.entries.iter().filter(is_expected).find(|id| !answers.contains_key(id)) {
            Some(id) => Err(format!("{id} has no answer")),
            None => Ok(()),
        }
    }
}

/// Every short word of an answer.
fn collect<'a>(answer: &'a Value, words: &mut Vec<&'a str>) {
    match answer {
        Value::List(list) => list.iter().for_each(|one| collect(one, words)),
        Value::Text(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '-') => {
            words.push(text);
        }
        Value::Error(_) => words.push("(an error)"),
        Value::Nil => words.push("(nothing)"),
        _ => {}
    }
}
