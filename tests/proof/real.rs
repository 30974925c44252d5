//! The real scripts on a real redis-server whose clock stands still between steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use startjobs::embedded::redis_server::RedisServer;
use startjobs::start::record::script_text;
use startjobs::stream::script_texts;

use crate::call::{
    CLAIM_IDLE, CONSUMER_IDLE, CRASH_BUDGET, Call, End, GRACE, LEDGER_TTL, SWEEP_EVERY, TIDY_EVERY, about,
};
use crate::clock::Clock;
use crate::ids::Id;
use crate::model::record::canonical;
use crate::model::{RUN, Seen};
use crate::mutants::Mutant;
use crate::record_words;
use crate::wire::{Value, Wire, packed, unpacked};

pub const JOBS: &str = "runtime:start_jobs";
pub const RESULTS: &str = "runtime:job_results";
pub const DEAD: &str = "runtime:dead_jobs";
pub const MIRROR: &str = "rtmanager:stream_offsets:startjobs";
pub const GROUP: &str = "rtmanager.startjobs";
/// The moment at which each sequence begins.
pub const BEGIN_MS: u64 = 1_900_000_000_000;
/// What of the sweep's HASH says when and from where.
const SWEEP_FIELDS: &str =
    " due by cursor suspect alone_by alone_until walked_to watched janitor_due watch_due noted reconsider_due ";
/// How often a script may ask for further ledger buckets.
const ROUNDS_MAX: usize = 32;

/// A snapshot: key, remaining time to live (0: for ever) and value, and when it was made.
type Snapshot = (u64, Vec<(String, u64, String)>);

pub struct Real {
    pub wire: Wire,
    clock: Clock,
    /// By name, as the server calls them.
    hashes: Vec<(&'static str, String)>,
    observe: String,
    snapshot: Option<Snapshot>,
    /// Connections that stay open as long as their replicas live.
    subscriptions: BTreeMap<String, Wire>,
    run: String,
    now: u64,
    port: u16,
    /// Ends with the rest.
    _server: RedisServer,
}

/// What a step left.
pub struct Observed {
    pub sections: Vec<Value>,
    pub consumers: BTreeSet<String>,
}

impl Real {
    pub fn new(program: &Path) -> Self {
        let clock = Clock::standing_at(BEGIN_MS);
        let server = clock.redis(program);
        let mut wire = Wire::connect(server.port());
        // Two entries a node, so that trimming by whole nodes trims something.
        wire.call(&["CONFIG", "SET", "stream-node-max-entries", "2"]);
        let observe = wire.call(&["SCRIPT", "LOAD", include_str!("observe.lua")]).as_text().to_owned();
        let info = wire.call(&["INFO", "server"]);
        let run = info
            .as_text()
            .lines()
            .find_map(|line| line.strip_prefix("run_id:"))
            .expect("each run has an id")
            .to_owned();
        let mut real = Self {
            wire,
            clock,
            hashes: Vec::new(),
            observe,
            snapshot: None,
            subscriptions: BTreeMap::new(),
            run,
            now: BEGIN_MS,
            port: server.port(),
            _server: server,
        };
        real.load(None);
        real
    }

    /// Loads the scripts, or those of a mutant.
    pub fn load(&mut self, mutant: Option<&Mutant>) {
        let texts = script_texts().into_iter().chain([("record", script_text())]);
        self.hashes.clear();
        for (name, text) in texts {
            let text = mutant.map_or(text.clone(), |mutant| mutant.change(&text));
            let hash = self.wire.call(&["SCRIPT", "LOAD", &text]);
            assert!(!hash.as_text().is_empty(), "{name}: {}", self.wire.last_error);
            self.hashes.push((name, hash.as_text().to_owned()));
        }
    }

    /// An empty server at the beginning of time.
    pub fn clear(&mut self) {
        self.wire.call(&["FLUSHALL"]);
        self.snapshot = None;
        self.subscriptions.clear();
        self.at(BEGIN_MS);
    }

    fn at(&mut self, ms: u64) {
        self.now = ms;
        self.clock.set(ms);
    }

    fn run(&mut self, name: &str, keys: &[String], args: &[String]) -> Value {
        let hash = self.hashes.iter().find(|(known, _)| *known == name).expect("a script").1.clone();
        let mut words = vec!["EVALSHA".to_owned(), hash, keys.len().to_string()];
        words.extend_from_slice(keys);
        words.extend_from_slice(args);
        self.wire.call(&words)
    }

    /// With all keys of the group, and the ledger's buckets that it asks for.
    fn group(&mut self, name: &str, ids: &[Id], args: Vec<String>) -> Value {
        let mut hours: BTreeSet<u64> = ids.iter().map(|id| id.hour()).collect();
        let args: Vec<String> = [GROUP.to_owned()].into_iter().chain(args).collect();
        for _ in 0..ROUNDS_MAX {
            let keys: Vec<String> = listed().into_iter().chain(hours.iter().map(|hour| bucket(*hour))).collect();
            let answer = self.run(name, &keys, &args);
            if answer != Value::Error("NEEDKEYS".to_owned()) {
                return answer;
            }
            let (_, after) = self.wire.last_error.split_once("NEEDKEYS ").expect("it names them");
            let named = after
                .split(' ')
                .map_while(|word| word.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().ok());
            hours.extend(named.collect::<Vec<_>>());
        }
        Value::Error("asks for ever more keys".to_owned())
    }

    pub fn call(&mut self, call: &Call) -> Value {
        let text = ToString::to_string;
        match call {
            Call::Append => self.append("*"),
            Call::AppendAt(id) => self.append(&id.to_string()),
            Call::Read { me, count, .. } => {
                if self.is_paused() {
                    return Value::text("paused");
                }
                let words = ["XREADGROUP", "GROUP", GROUP, me, "COUNT", &count.to_string(), "STREAMS", JOBS, ">"];
                let answer = self.wire.call(&words);
                match answer {
                    Value::Nil => Value::List(Vec::new()),
                    Value::List(streams) => {
                        Value::List(streams[0].list()[1].list().iter().map(|entry| entry.list()[0].clone()).collect())
                    }
                    other => other,
                }
            }
            Call::Settle { me, batch, held } => self.settle(me, batch, *held),
            Call::Renew { me, serves, ids, generation } => {
                let args =
                    vec![me.clone(), "running".to_owned(), about(me, *serves), generation.to_string(), packed_ids(ids)];
                self.group("renew", ids, args)
            }
            Call::Sweep { me, mode, want, holds_nothing, generation, .. } => {
                if self.is_paused() {
                    return Value::text("paused");
                }
                let numbers = [CLAIM_IDLE.to_string(), SWEEP_EVERY.to_string(), want.to_string()];
                let [holds, grace] = [u64::from(*holds_nothing), GRACE].map(|number| number.to_string());
                let rest = [text(mode), "10000".into(), holds, grace, generation.to_string(), CRASH_BUDGET.to_string()];
                let args = [me.clone()].into_iter().chain(numbers).chain(rest).collect();
                let mut answer = self.group("claim", &[], args);
                // The owners come in no order.
                if let Value::List(parts) = &mut answer
                    && let Some(Value::List(from)) = parts.last_mut()
                {
                    from.sort_by_key(|row| row.list()[0].as_text().to_owned());
                }
                answer
            }
            Call::HandBack { me, ids, rewinds } => {
                self.group("hand_back", &[], vec![me.clone(), packed_ids(ids), u8::from(*rewinds).to_string()])
            }
            Call::HandOver { me, orders } => {
                let words: Vec<String> =
                    orders.iter().flat_map(|(id, host)| [id.to_string(), host.clone(), String::new()]).collect();
                let ids: Vec<Id> = orders.iter().map(|(id, _)| *id).collect();
                self.group(
                    "hand_over",
                    &ids,
                    vec![me.clone(), CLAIM_IDLE.to_string(), "0".into(), packed(&words, false)],
                )
            }
            Call::Leave { me } => self.group("leave", &[], vec![me.clone(), about(me, true)]),
            Call::Adopt { me } => self.group("adopt", &[], vec![me.clone(), CLAIM_IDLE.to_string()]),
            Call::Tidy { me, trims } => {
                let index_within = LEDGER_TTL / 64;
                let numbers =
                    [TIDY_EVERY, CLAIM_IDLE, CONSUMER_IDLE, LEDGER_TTL, index_within, u64::from(*trims), 0, 1_000];
                self.group("janitor", &[], [me.clone()].into_iter().chain(numbers.map(|n| n.to_string())).collect())
            }
            Call::History { me: _, ids } => self.group("history", ids, vec![packed_ids(ids)]),
            Call::Fail { me, id, passed } => {
                self.group("record_failure", &[], vec![me.clone(), id.to_string(), passed.to_string()])
            }
            Call::Withdraw { me, counts } => {
                let words: Vec<String> = counts.iter().flat_map(|(id, n)| [id.to_string(), n.to_string()]).collect();
                self.group("withdraw_failures", &[], vec![me.clone(), packed(&words, false)])
            }
            Call::Cancel { id, only_marks } => self.mark(*id, "cancel", *only_marks),
            Call::RetryNow { id } => self.mark(*id, "retry", true),
            Call::Tell { me, ids } => {
                let keys =
                    ["", ":attempts", ":open", ":events", ":history:m", ":history:h"].map(|end| format!("{JOBS}{end}"));
                let [open, nothing] = [packed(&["0"], false), packed::<String>(&[], false)];
                let args = [GROUP.to_owned(), me.clone(), open, nothing.clone(), nothing, packed_ids(ids)];
                self.run("tell", &keys, &args)
            }
            Call::Requeue { ids } => {
                let keys = [JOBS.to_owned(), DEAD.to_owned(), format!("{DEAD}:requeued")];
                self.run("requeue", &keys, &["100".to_owned(), packed_ids(ids), "ann@host".to_owned()])
            }
            Call::RemoveDead { ids } => self.run("remove_dead", &[DEAD.to_owned()], &[packed_ids(ids)]),
            Call::Record { game, verb } => {
                let (keys, words) = record_words::of(*game, verb, self.now);
                let args = [packed(&words, true), "1".to_owned()];
                match self.run("record", &keys, &args) {
                    Value::Text(text) => record_words::canonical_reply(verb, unpacked(&text)),
                    other => other,
                }
            }
            _ => self.outside(call),
        }
    }

    fn append(&mut self, id: &str) -> Value {
        self.wire.call(&["XADD", JOBS, id, "game_id", "g", "image_ref", "i"])
    }

    fn is_paused(&mut self) -> bool {
        self.wire.call(&["EXISTS", &format!("{JOBS}:paused")]).as_text() == "1"
    }

    fn mark(&mut self, id: Id, kind: &str, only_marks: bool) -> Value {
        let fields = ["game_id", "g", "outcome", "failure", "error_code", "cancelled", "source_ref", &id.to_string()];
        let outcome = if only_marks { String::new() } else { packed(&fields, false) };
        let ttl = LEDGER_TTL.to_string();
        let args = [id.to_string(), kind.into(), "ann@host".into(), "why".into(), ttl, outcome];
        self.group("place_mark", &[id], args.to_vec())
    }

    fn settle(&mut self, me: &str, batch: &[(Id, End)], held: usize) -> Value {
        let (first, last) = (batch.iter().map(|one| one.0).min(), batch.iter().map(|one| one.0).max());
        let (first, last) = (first.expect("not empty"), last.expect("not empty"));
        let has_dead = batch.iter().any(|(_, end)| matches!(end, End::Malformed | End::GivenUp));
        let dead_max = if has_dead { "10000" } else { "" };
        let ttl = LEDGER_TTL.to_string();
        let head = [&batch.len().to_string(), "10", dead_max, &ttl, "1", "1", "0"];
        let mut words: Vec<String> = head.into_iter().map(str::to_owned).collect();
        words.extend(batch.iter().map(|(id, _)| id.to_string()));
        for (id, end) in batch {
            let source = id.to_string();
            let outcome = |outcome: &str, code: &str| {
                ["g", outcome, "c", "e", code, "", &source, "0", "1", "1"].map(str::to_owned)
            };
            let letter = |reason: &str| {
                let head = [&source, reason, "why", "1", "0", "0", "1", me];
                head.into_iter().chain(["4", "game_id", "g", "image_ref", "i"]).map(str::to_owned).collect::<Vec<_>>()
            };
            match end {
                End::Known => words.push("known".to_owned()),
                End::Success => {
                    words.push("outcome".to_owned());
                    words.extend(outcome("success", ""));
                }
                End::Malformed => {
                    words.push("dead".to_owned());
                    words.extend(letter("malformed"));
                }
                End::GivenUp => {
                    words.push("both".to_owned());
                    words.extend(outcome("failure", "engine_unavailable"));
                    words.extend(letter("retries_exhausted"));
                }
            }
        }
        let mut keys = listed();
        keys.truncate(7);
        keys.push(bucket(first.hour()));
        let most = (held + 64).to_string();
        let args = [GROUP.to_owned(), me.to_owned(), most, first.to_string(), last.to_string(), packed(&words, false)];
        self.run("settle", &keys, &args)
    }

    fn outside(&mut self, call: &Call) -> Value {
        match call {
            Call::Subscribe(name) => {
                let mut wire = Wire::connect(self.port);
                wire.call(&["SUBSCRIBE", &channel_of(name)]);
                self.subscriptions.insert(name.clone(), wire);
                Value::Nil
            }
            Call::Unsubscribe(name) => {
                self.subscriptions.remove(name);
                // The server notices the closed connection a moment later.
                while self.wire.call(&["PUBSUB", "NUMSUB", &channel_of(name)]).list()[1].as_text() != "0" {}
                Value::Nil
            }
            Call::Destroy => self.wire.call(&["XGROUP", "DESTROY", JOBS, GROUP]),
            Call::DropConsumer(name) => self.wire.call(&["XGROUP", "DELCONSUMER", JOBS, GROUP, name]),
            Call::Ack(id) => self.wire.call(&["XACK", JOBS, GROUP, &id.to_string()]),
            Call::Delete(id) => self.wire.call(&["XDEL", JOBS, &id.to_string()]),
            Call::TrimTo(count) => self.wire.call(&["XTRIM", JOBS, "MAXLEN", &count.to_string()]),
            Call::SetId(id) => self.wire.call(&["XGROUP", "SETID", JOBS, GROUP, &id.to_string()]),
            Call::DropStream => self.wire.call(&["DEL", JOBS]),
            Call::Snapshot => self.save(),
            Call::Restore => self.restore(),
            Call::Pass(ms) => {
                self.at(self.now + ms);
                Value::Nil
            }
            Call::Legacy(count) => self.legacy(*count),
            Call::Pause => self.wire.call(&["HSET", &format!("{JOBS}:paused"), &format!("group:{GROUP}"), "{}"]),
            Call::Resume => self.wire.call(&["DEL", &format!("{JOBS}:paused")]),
            other => panic!("{other:?} is asked of a script"),
        }
    }

    /// The original worker: one entry after the other, an outcome of six fields, then its offset.
    fn legacy(&mut self, count: usize) -> Value {
        let held = self.wire.call(&["GET", MIRROR]);
        let from = if held == Value::Nil { "0-0" } else { held.as_text() }.to_owned();
        let read = self.wire.call(&["XREAD", "COUNT", &count.to_string(), "STREAMS", JOBS, &from]);
        if let Value::List(streams) = read {
            for entry in streams[0].list()[1].list() {
                let outcome = ["game_id", "g", "outcome", "success", "container_id", "c", "engine_endpoint", "e"];
                let rest = ["error_code", "", "error_message", ""];
                self.wire.call(&[&["XADD", RESULTS, "*"][..], &outcome, &rest].concat());
                self.wire.call(&["SET", MIRROR, entry.list()[0].as_text()]);
            }
        }
        Value::Nil
    }

    fn save(&mut self) -> Value {
        let keys = self.wire.call(&["KEYS", "*"]);
        let dump = |key: &Value| {
            let left = self.wire.call(&["PTTL", key.as_text()]).as_text().parse::<i64>().unwrap_or(-1);
            let value = self.wire.call(&["DUMP", key.as_text()]).as_text().to_owned();
            (key.as_text().to_owned(), u64::try_from(left).unwrap_or(0), value)
        };
        self.snapshot = Some((self.now, keys.list().iter().map(dump).collect()));
        Value::Nil
    }

    /// Redis has lost everything since the snapshot.
    fn restore(&mut self) -> Value {
        let Some((at, values)) = self.snapshot.clone() else { return Value::Nil };
        self.wire.call(&["FLUSHALL"]);
        for (key, left, value) in values {
            let until = if left == 0 { 0 } else { at + left };
            if until == 0 || until > self.now {
                self.wire.call(&["RESTORE", &key, &until.to_string(), &value, "ABSTTL"]);
            }
        }
        Value::Nil
    }

    pub fn observe(&mut self) -> Observed {
        let words = ["EVALSHA", &self.observe, "0", JOBS, RESULTS, DEAD, MIRROR, GROUP, SWEEP_FIELDS];
        let Value::List(mut sections) = self.wire.call(&words) else { panic!("observe: {}", self.wire.last_error) };
        let consumers =
            sections.pop().expect("the last section").list().iter().map(|one| one.as_text().to_owned()).collect();
        let records = sections.pop().expect("the last but one");
        sections.push(records_of(&records));
        for text in replica_texts(&mut sections) {
            *text = text.replace(&self.run, RUN);
        }
        Observed { sections, consumers }
    }
}

impl Observed {
    /// What the model must know where more than one thing is right.
    pub fn seen(&self) -> Seen {
        let ids = self.sections[0].list().iter().filter_map(|id| Id::parse(id.as_text()));
        Seen { mirror: Id::parse(self.sections[5].as_text()), entries: ids.collect() }
    }
}

fn replica_texts(sections: &mut [Value]) -> impl Iterator<Item = &mut String> {
    let Value::List(texts) = &mut sections[11] else { panic!("a section is a list") };
    texts.iter_mut().filter_map(|one| if let Value::Text(text) = one { Some(text) } else { None })
}

/// In the model's words.
fn records_of(rows: &Value) -> Value {
    let mut seen = BTreeMap::new();
    let json = |text: &str| serde_json::from_str(text).map_or_else(|_| text.to_owned(), |json| canonical(&json));
    for row in rows.list() {
        let [key, field, text] = row.list() else { panic!("{row:?}") };
        let (key, field, text) = (key.as_text(), field.as_text(), text.as_text());
        let game = key.split(['{', '}']).nth(1).unwrap_or("");
        if key.ends_with(":rec") {
            seen.insert(game.to_owned(), json(text));
        } else if key.ends_with(":res") {
            seen.insert(format!("{game} {field}"), json(text));
        } else if let Some(host) = key.strip_prefix("rtm:placed:") {
            seen.insert(format!("placed {host} {field}"), text.to_owned());
        } else if let Some(host) = key.strip_prefix("rtm:reconciled:") {
            seen.insert(format!("tick {host}"), text.to_owned());
        } else if key == "rtm:hosts" {
            seen.insert(format!("host {field}"), text.to_owned());
        } else if key == "rtm:fleet" {
            seen.insert("fleet".to_owned(), text.to_owned());
        }
    }
    Value::texts(seen.into_iter().flat_map(|(name, text)| [name, text]))
}

fn channel_of(name: &str) -> String {
    format!("{JOBS}:alive:{name}")
}

fn packed_ids(ids: &[Id]) -> String {
    packed(&ids.iter().map(Id::to_string).collect::<Vec<_>>(), false)
}

fn bucket(hour: u64) -> String {
    format!("{JOBS}:ledger:{hour}")
}

/// The keys that every script takes first, in their order.
fn listed() -> Vec<String> {
    let of_jobs = |end: &str| format!("{JOBS}{end}");
    let shadow = format!("{MIRROR}:shadow");
    let first = [JOBS.to_owned(), RESULTS.to_owned(), DEAD.to_owned(), MIRROR.to_owned(), shadow];
    let rest = [":attempts", ":ledgers", ":sweep", ":replicas", ":verified", ":open"].map(of_jobs);
    first.into_iter().chain(rest).collect()
}
