//! The record of each game, its stored answers, the lists of games on hosts, and the hosts.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::game::{Answer, Rec, answer_json, of_label};
pub use super::game::{Job, Label, Token, Verb, canonical};
use crate::call::host_of;
use crate::ids::Id;
use crate::wire::Value;

pub const LEASE: u64 = 30_000;
pub const STREAM: &str = "runtime:start_jobs";
/// How long a host counts as alive.
pub const HEARTBEAT: u64 = 30_000;
/// No sum of the times that pass, so that no key expires at the very moment of a step.
pub const TICK: u64 = 60_250;
const ANSWERS_KEPT: u64 = 604_800_000;

#[derive(Debug, Clone, Default)]
pub struct Records {
    recs: BTreeMap<u64, Rec>,
    /// By game: until when, and the answers by job.
    answers: BTreeMap<u64, (u64, BTreeMap<Id, Json>)>,
    /// By host and game.
    placed: BTreeMap<(String, u64), u64>,
    hosts: BTreeMap<String, (u64, String)>,
    ticks: BTreeMap<String, (u64, String)>,
    fleet: Option<String>,
    now: u64,
}

fn yes(is: bool) -> Value {
    Value::texts([u8::from(is)])
}

fn job_of(source: Id) -> String {
    format!("{STREAM}/{source}")
}

impl Records {
    fn put(&mut self, game: u64, rec: Rec) {
        self.recs.insert(game, rec);
    }

    fn keep(&mut self, game: u64, source: Id, answer: Json) {
        let now = self.now;
        let (until, answers) = self.answers.entry(game).or_default();
        if *until < now {
            answers.clear();
        }
        *until = now + ANSWERS_KEPT;
        answers.insert(source, answer);
    }

    fn answered(&self, game: u64, rec: &Rec, source: Id) -> Option<Json> {
        let kept = || self.answers.get(&game).filter(|(until, _)| *until >= self.now)?.1.get(&source).cloned();
        rec.answer_of().filter(|_| rec.job.source == source).or_else(kept)
    }

    fn on(&self, host: &str) -> u64 {
        self.placed.keys().filter(|(other, _)| other == host).count() as u64
    }

    fn is_full(&self, game: u64, host: &str, most: Option<u64>) -> Option<Value> {
        let count = self.on(host);
        let is_full = most.is_some_and(|most| count >= most) && !self.placed.contains_key(&(host.to_owned(), game));
        is_full.then(|| Value::texts(["full".to_owned(), count.to_string()]))
    }

    /// The game does not run any more: what its job was answered is kept beside the record.
    fn end(&mut self, game: u64, rec: &mut Rec) {
        if let Some(answer) = rec.answer_of() {
            self.keep(game, rec.job.source, answer);
        }
        rec.answer = None;
        (rec.state, rec.lease_until, rec.updated) = ("stopped", 0, self.now);
        rec.endpoint.clear();
    }

    pub fn apply(&mut self, now: u64, game: u64, verb: &Verb) -> Value {
        self.now = now;
        let rec = self.recs.get(&game).cloned();
        match verb {
            Verb::Begin { .. } => self.begin(game, verb),
            Verb::Fence(token) => yes(rec.is_some_and(|rec| rec.is_held_by(token))),
            Verb::Abandon { me, job, container } => self.abandon(game, me, job, container),
            Verb::Reap { me, label, only_asks } => self.reap(game, me, label, *only_asks),
            Verb::Rebuild { me, label } => {
                let is_there = rec.is_some();
                if !is_there {
                    self.put(game, of_label(label, label.fence + 1, &host_of(me), now, 1));
                }
                yes(!is_there)
            }
            Verb::Stop { host, is_gone } => self.stop(game, host, *is_gone),
            Verb::Show => Value::texts(rec.map(|rec| canonical(&rec.to_json()))),
            Verb::Unlist(host) => {
                let has_left = rec.as_ref().is_some_and(|rec| {
                    (rec.state == "failed" || (rec.state == "starting" && rec.host.is_empty()))
                        && rec.condemned.is_empty()
                });
                if has_left {
                    self.placed.remove(&(host.clone(), game));
                }
                yes(has_left)
            }
            Verb::Beat(..) | Verb::Forget(_) | Verb::Tick(..) | Verb::Fleet(_) | Verb::Probe => self.of_fleet(verb),
            _ => self.of_record(game, rec, verb),
        }
    }

    fn of_record(&mut self, game: u64, rec: Option<Rec>, verb: &Verb) -> Value {
        let now = self.now;
        if let Verb::Disown(container) = verb {
            return self.disown(game, rec, container);
        }
        let Some(mut rec) = rec else {
            return match verb {
                Verb::Release(..) => yes(true),
                Verb::Room(..) => Value::texts(["fenced"]),
                _ => yes(false),
            };
        };
        match verb {
            Verb::Renew(token) => {
                if !rec.is_held_by(token) || rec.state != "starting" {
                    return yes(false);
                }
                (rec.lease_until, rec.updated) = (now + LEASE, now);
            }
            Verb::Release(token, leaves) => {
                if rec.is_held_by(token) {
                    rec.lease_until = 0;
                    if *leaves && rec.state == "starting" && rec.condemned.is_empty() {
                        rec.host.clear();
                    }
                }
            }
            Verb::Condemn(token, container) => {
                if !rec.is_held_by(token) {
                    return yes(false);
                }
                (rec.condemned, rec.updated) = (container.clone(), now);
            }
            Verb::Commit(token, success, condemned) => {
                if !rec.is_held_by(token) {
                    return yes(false);
                }
                let mut next = Rec::beginning(token.fence, &token.owner, now, token.attempt, &token.job);
                next.condemned.clone_from(condemned);
                next.state = if success.is_some() { "running" } else { "failed" };
                next.answer = Some(if success.is_some() {
                    Answer::default()
                } else {
                    ("engine_exited".to_owned(), String::new())
                });
                (next.container, next.endpoint) = success.clone().unwrap_or_default();
                rec = next;
            }
            Verb::Yield(token, label) => {
                if !rec.is_held_by(token) {
                    return yes(false);
                }
                self.keep(game, token.job.source, answer_json(None, &("image_conflict".to_owned(), String::new())));
                rec = of_label(label, label.fence.max(rec.fence) + 1, &host_of(&token.owner), now, rec.attempt);
            }
            Verb::Room(token, most) => return self.room(game, &rec, token, *most),
            Verb::Removed(container) => {
                if rec.state == "starting" || rec.condemned != *container {
                    return yes(false);
                }
                rec.condemned.clear();
            }
            Verb::Ended(container) => {
                if rec.state != "running" || rec.container != *container {
                    return yes(false);
                }
                self.end(game, &mut rec);
                (rec.exit_code, rec.ended_at) = ("3".to_owned(), "77".to_owned());
            }
            Verb::Moved(container, host) => {
                if rec.state != "running" || rec.container != *container {
                    return yes(false);
                }
                (rec.endpoint, rec.host, rec.updated) = ("http://moved".to_owned(), host.clone(), now);
            }
            Verb::Revived(container, host) => {
                let is_it = rec.state == "stopped" && rec.stopped_by.is_empty() && rec.container == *container;
                if !is_it || rec.condemned == *container {
                    return yes(false);
                }
                (rec.state, rec.endpoint, rec.host, rec.updated) =
                    ("running", "http://again".to_owned(), host.clone(), now);
                rec.exit_code.clear();
                rec.ended_at.clear();
            }
            _ => unreachable!("handled before"),
        }
        self.put(game, rec);
        yes(true)
    }

    fn disown(&mut self, game: u64, rec: Option<Rec>, container: &str) -> Value {
        let none = Job { source: Id::ZERO, image: String::new() };
        let mut rec = rec.unwrap_or_else(|| Rec {
            state: "failed",
            owner: String::new(),
            host: String::new(),
            is_blank: true,
            ..Rec::beginning(0, "-0", 0, 0, &none)
        });
        let is_held = rec.state == "starting" || (rec.state == "running" && rec.container == container);
        if is_held || !(rec.condemned.is_empty() || rec.condemned == container) {
            return yes(false);
        }
        (rec.condemned, rec.updated) = (container.to_owned(), self.now);
        self.put(game, rec);
        yes(true)
    }

    fn room(&mut self, game: u64, rec: &Rec, token: &Token, most: Option<u64>) -> Value {
        if !rec.is_held_by(token) {
            return Value::texts(["fenced"]);
        }
        let host = host_of(&token.owner);
        if most.is_none() {
            self.placed.remove(&(host, game));
        } else if let Some(full) = self.is_full(game, &host, most) {
            return full;
        } else {
            self.placed.insert((host, game), self.now);
        }
        Value::texts(["yes"])
    }

    fn begin(&mut self, game: u64, verb: &Verb) -> Value {
        let Verb::Begin { me, job, dead, gone, dead_owner, dead_host, most } = verb else { unreachable!("asked for") };
        let (now, here) = (self.now, host_of(me));
        let say = |words: &[&str]| Value::texts(words);
        let Some(rec) = self.recs.get(&game).cloned() else {
            if let Some(full) = self.is_full(game, &here, *most) {
                return full;
            }
            self.placed.insert((here, game), now);
            self.put(game, Rec { lease_until: now + LEASE, ..Rec::beginning(1, me, now, 1, job) });
            return say(&["first", &now.to_string()]);
        };
        let is_on_dead_host = !dead_host.is_empty() && rec.host == *dead_host;
        let is_elsewhere = !rec.host.is_empty() && rec.host != here && !is_on_dead_host;
        // An operator has stopped the game after this job had been appended.
        let is_halted = rec.state == "stopped" && !rec.stopped_by.is_empty() && job.source.ms <= rec.updated;
        if let Some(stored) = self.answered(game, &rec, job.source) {
            let container = stored["container_id"].as_str().unwrap_or("").to_owned();
            if is_halted && stored["outcome"] == "success" {
                return say(&["halted", &rec.stopped_by]);
            }
            if dead.is_empty() || container != *dead {
                let is_current = rec.state == "running" && container == rec.container;
                return say(&["stored", &canonical(&stored), if is_current { &rec.host } else { "" }]);
            }
        }
        if is_halted {
            return say(&["halted", &rec.stopped_by]);
        }
        let is_dead = rec.state == "running" && ((!dead.is_empty() && rec.container == *dead) || is_on_dead_host);
        if rec.state == "running" {
            if is_elsewhere {
                return say(&["elsewhere", &rec.host]);
            }
            if !is_dead && rec.job.image == job.image {
                return say(&["running", &rec.container]);
            }
            if !is_dead {
                return say(&["conflict", &rec.job.image, &rec.container]);
            }
        }
        let (is_starting, is_same) = (rec.state == "starting", rec.job.source == job.source);
        let is_mine = is_same && rec.owner == *me;
        let is_of_dead = !dead_owner.is_empty() && rec.owner == *dead_owner;
        let left = rec.lease_until.saturating_sub(now);
        if left > 0 && !is_mine && !is_of_dead {
            return say(&["busy", &left.to_string()]);
        }
        if is_starting && !is_same && rec.job.image != job.image && rec.job.source.to_string() != *gone {
            return say(&["blocked", &rec.job.source.to_string()]);
        }
        if is_elsewhere && (is_starting || !rec.condemned.is_empty()) {
            return say(&["elsewhere", &rec.host]);
        }
        if let Some(full) = self.is_full(game, &here, *most) {
            return full;
        }
        if let Some(answer) = rec.answer_of() {
            self.keep(game, rec.job.source, answer);
        }
        let mut next = Rec { lease_until: now + LEASE, ..Rec::beginning(rec.fence + 1, me, now, rec.attempt + 1, job) };
        if !is_on_dead_host {
            next.condemned = if is_dead { dead.clone() } else { rec.condemned };
            (next.container, next.endpoint) = (rec.container, rec.endpoint);
        }
        let words = [
            "go".to_owned(),
            now.to_string(),
            next.fence.to_string(),
            next.attempt.to_string(),
            next.condemned.clone(),
        ];
        self.placed.insert((here, game), now);
        self.put(game, next);
        Value::texts(words)
    }

    fn abandon(&mut self, game: u64, me: &str, job: &Job, container: &str) -> Value {
        let given_up = ("engine_unavailable".to_owned(), "retries_exhausted".to_owned());
        let failed = |fence, attempt| Rec {
            state: "failed",
            answer: Some(given_up.clone()),
            ..Rec::beginning(fence, me, self.now, attempt, job)
        };
        let Some(mut rec) = self.recs.get(&game).cloned() else {
            let rec = failed(0, 0);
            self.put(game, rec);
            return Value::texts(["kept"]);
        };
        if let Some(stored) = self.answered(game, &rec, job.source) {
            return Value::texts(["stored".to_owned(), canonical(&stored)]);
        }
        if rec.state != "starting" || rec.job.source != job.source {
            self.keep(game, job.source, answer_json(None, &given_up));
            return Value::texts(["kept"]);
        }
        rec.fence += 1;
        (rec.state, rec.owner, rec.condemned, rec.answer) =
            ("failed", me.to_owned(), container.to_owned(), Some(given_up));
        (rec.lease_until, rec.updated) = (0, self.now);
        rec.container.clear();
        rec.endpoint.clear();
        self.put(game, rec);
        Value::texts(["taken"])
    }

    fn reap(&mut self, game: u64, me: &str, label: &Label, only_asks: bool) -> Value {
        let Some(mut rec) = self.recs.get(&game).cloned() else { return yes(false) };
        let is_here = rec.host.is_empty() || rec.host == host_of(me);
        let names_it = rec.container == label.container;
        if (rec.state == "starting" && is_here) || (rec.state == "running" && names_it) {
            return yes(false);
        }
        if rec.condemned == label.container && is_here {
            return Value::texts([2]);
        }
        let fence = label.fence.max(1);
        let is_of_another_history = rec.fence == fence && rec.owner != label.owner;
        let keeps_its_log = rec.state == "stopped" && rec.stopped_by.is_empty() && names_it;
        if rec.fence < fence || is_of_another_history || keeps_its_log {
            return yes(false);
        }
        let may_go_now = rec.fence > fence;
        if !only_asks && rec.condemned.is_empty() && is_here {
            (rec.condemned, rec.updated) = (label.container.clone(), self.now);
            self.put(game, rec);
        }
        Value::texts([if may_go_now { 2 } else { 1 }])
    }

    fn stop(&mut self, game: u64, host: &str, is_gone: bool) -> Value {
        let Some(mut rec) = self.recs.get(&game).cloned() else { return Value::texts(["absent", ""]) };
        let (was, at) = (rec.state, rec.host.clone());
        if !host.is_empty() && at != host {
            return Value::texts(["elsewhere".to_owned(), at]);
        }
        if was == "running" || was == "starting" {
            rec.fence += 1;
            self.end(game, &mut rec);
            if was == "running" && !is_gone {
                rec.condemned.clone_from(&rec.container);
            }
            rec.exit_code.clear();
            (rec.ended_at, rec.stopped_by) = (self.now.to_string(), "ann@host".to_owned());
        } else if !is_gone || rec.condemned.is_empty() {
            return Value::texts([was.to_owned(), at]);
        }
        if is_gone {
            rec.condemned.clear();
        }
        self.put(game, rec);
        Value::texts([was.to_owned(), at])
    }

    fn of_fleet(&mut self, verb: &Verb) -> Value {
        let now = self.now;
        match verb {
            Verb::Beat(host, engine) => {
                let before = self.hosts.get(host).cloned();
                let mut since = String::new();
                if let Some((seen, other)) = before {
                    if other != *engine && now - seen < HEARTBEAT {
                        return Value::texts(["held".to_owned(), (now - seen).to_string()]);
                    }
                    if other == *engine {
                        since = (now - seen).to_string();
                    }
                }
                self.hosts.insert(host.clone(), (now, engine.clone()));
                let all = self.hosts.iter().flat_map(|(name, (seen, engine))| [name.clone(), host_text(*seen, engine)]);
                Value::texts(["ok".to_owned(), now.to_string(), since].into_iter().chain(all))
            }
            Verb::Forget(host) => {
                let is_dead = self.hosts.get(host).is_some_and(|(seen, _)| now - seen >= HEARTBEAT);
                if is_dead {
                    self.hosts.remove(host);
                }
                yes(is_dead)
            }
            Verb::Tick(host, me) => {
                let is_taken = self.ticks.get(host).is_some_and(|(at, _)| now - at < TICK);
                if !is_taken {
                    self.ticks.insert(host.clone(), (now, me.clone()));
                }
                yes(!is_taken)
            }
            Verb::Fleet(wanted) => {
                if self.fleet.is_none() && !wanted.is_empty() {
                    self.fleet = Some(wanted.clone());
                }
                Value::texts(self.fleet.clone())
            }
            _ => yes(true),
        }
    }

    pub fn observe(&self) -> Vec<(String, String)> {
        let mut seen = BTreeMap::new();
        for (game, rec) in &self.recs {
            seen.insert(format!("g{game}"), canonical(&rec.to_json()));
        }
        for (game, (until, answers)) in &self.answers {
            for (source, answer) in answers.iter().filter(|_| *until >= self.now) {
                seen.insert(format!("g{game} {}", job_of(*source)), canonical(answer));
            }
        }
        for ((host, game), ms) in &self.placed {
            seen.insert(format!("placed {host} g{game}"), ms.to_string());
        }
        for (host, (ms, engine)) in &self.hosts {
            seen.insert(format!("host {host}"), host_text(*ms, engine));
        }
        for (host, (at, me)) in self.ticks.iter().filter(|(_, (at, _))| at + TICK >= self.now) {
            seen.insert(format!("tick {host}"), format!("{at} {me}"));
        }
        seen.extend(self.fleet.iter().map(|name| ("fleet".to_owned(), name.clone())));
        seen.into_iter().collect()
    }

    pub fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// The containers that a game's record names.
    pub fn containers(&self, game: u64) -> Vec<String> {
        let rec = self.recs.get(&game);
        let named = rec.map(|rec| [rec.container.clone(), rec.condemned.clone()]).unwrap_or_default();
        named.into_iter().filter(|name| !name.is_empty()).collect()
    }
}

fn host_text(seen: u64, engine: &str) -> String {
    format!("{seen} {HEARTBEAT} {engine} {{}}")
}
