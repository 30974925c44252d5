//! What operators and other programs do: marks, dead letters that are put back, and whatever happens to the keys.

use super::{Group, Model, error};
use crate::call::{Call, LEDGER_TTL};
use crate::ids::Id;
use crate::wire::Value;

impl Model {
    /// A job that no replica has read is answered as cancelled; any other is marked.
    pub fn mark(&mut self, id: Id, cancels: bool, only_marks: bool) -> Value {
        let word = |word: &str| Value::texts([word]);
        if self.knows(id) {
            return word("settled");
        }
        let past = self.past.get(&id);
        let before = past.and_then(|past| if cancels { past.cancel.as_deref() } else { past.retry.as_deref() });
        if let Some(before) = before {
            let words = super::group::words_of(before);
            return Value::texts(["before".to_owned()].into_iter().chain(words));
        }
        if !self.has_stream {
            return word("unknown");
        }
        let delivered = self.group.as_ref().map(|group| group.delivered);
        if let Some(owner) = self.pending(id).map(|pending| pending.owner.clone()) {
            return self.place(id, cancels, owner);
        }
        if !self.entries.contains(&id) {
            return word(if id > self.last { "unknown" } else { "gone" });
        }
        if id.ms + LEDGER_TTL < self.now {
            return word("old");
        }
        if delivered.is_some_and(|delivered| id <= delivered) {
            return self.place(id, cancels, String::new());
        }
        let held = self.mirror.as_deref().and_then(Id::parse).filter(|_| self.mirror != self.shadow);
        if held.is_some_and(|held| delivered.is_none() || id <= held) {
            return word("passed");
        }
        if !cancels {
            return word("waiting");
        }
        if only_marks {
            return self.place(id, cancels, String::new());
        }
        let outcome = self.append_result(Some(id), "failure", "cancelled");
        self.remember(id);
        self.entries.remove(&id);
        Value::texts(["answered".to_owned(), outcome.to_string()])
    }

    fn place(&mut self, id: Id, cancels: bool, owner: String) -> Value {
        let mark = Some(format!("{} ann@host\nwhy", self.now));
        let past = self.past_of(id);
        if cancels {
            past.cancel = mark;
        } else {
            past.retry = mark;
        }
        Value::texts(["marked".to_owned(), owner])
    }

    pub fn requeue(&mut self, ids: &[Id]) -> Value {
        let mut answers = Vec::new();
        for id in ids {
            answers.push(match self.dead.get(id) {
                None => Value::texts(["gone", ""]),
                Some(letter) if letter.is_empty => Value::texts(["empty", ""]),
                Some(_) => {
                    self.dead.remove(id);
                    let job = self.append(None);
                    Value::List(vec![Value::text("requeued"), job])
                }
            });
        }
        Value::List(answers)
    }

    pub fn remove_dead(&mut self, ids: &[Id]) -> Value {
        Value::texts(ids.iter().map(|id| u8::from(self.dead.remove(id).is_some())))
    }

    /// What needs no script.
    pub fn outside(&mut self, call: &Call) -> Value {
        self.may_lag |= matches!(call, Call::DropConsumer(_) | Call::Ack(_) | Call::SetId(_));
        match call {
            Call::Subscribe(name) => drop(self.subscribed.insert(name.clone())),
            Call::Unsubscribe(name) => drop(self.subscribed.remove(name)),
            Call::Destroy => {
                if !self.has_stream {
                    return error("requires the key to exist");
                }
                return Value::text(u8::from(self.group.take().is_some()));
            }
            Call::DropConsumer(name) => {
                if !self.has_stream {
                    return error("requires the key to exist");
                }
                let Some(group) = &mut self.group else { return error("NOGROUP") };
                let before = group.pending.len();
                group.pending.retain(|_, pending| pending.owner != *name);
                return Value::text(before - group.pending.len());
            }
            Call::Ack(id) => {
                let count = self.group.as_mut().and_then(|group| group.pending.remove(id));
                return Value::text(u8::from(count.is_some()));
            }
            Call::Delete(id) => return Value::text(u8::from(self.entries.remove(id))),
            Call::TrimTo(count) => {
                let many = self.entries.len().saturating_sub(*count as usize);
                self.entries = self.entries.iter().copied().skip(many).collect();
                return Value::text(many);
            }
            Call::SetId(id) => {
                if !self.has_stream {
                    return error("requires the key to exist");
                }
                let Some(group) = &mut self.group else { return error("NOGROUP") };
                group.delivered = *id;
                return Value::text("OK");
            }
            Call::DropStream => {
                let was_there = std::mem::take(&mut self.has_stream);
                (self.group, self.last) = (None::<Group>, Id::ZERO);
                self.entries.clear();
                return Value::text(u8::from(was_there));
            }
            Call::Legacy(count) => {
                let from = self.mirror.as_deref().and_then(Id::parse).unwrap_or(Id::ZERO);
                let ids: Vec<Id> = self.entries.iter().copied().filter(|&id| id > from).take(*count).collect();
                for id in ids {
                    self.append_result(None, "success", "");
                    self.mirror = Some(id.to_string());
                }
            }
            Call::Pause => self.is_paused = true,
            Call::Resume => self.is_paused = false,
            Call::Pass(ms) => self.now += ms,
            _ => {}
        }
        Value::Any
    }
}
