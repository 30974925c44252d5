//! What the greeter keeps in Redis: the stored answers, who greets whom at the moment, and what an audit asks about.

use std::sync::Arc;
use std::time::Duration;

use startjobs::contract::dead_letter::Reason;
use startjobs::redis::{Connection, RedisError};
use startjobs::stream::entry_id::EntryId;
use startjobs::worker::handler::Attempt;

/// Entry id to [`Answered`] as text.
pub const ANSWERS: &str = "greet:answers";
/// Entry id to how often its job was begun, over all replicas.
pub const CALLS: &str = "greet:calls";
/// Name to how often it was greeted.
pub const GREETED: &str = "greet:greeted";
/// What must not happen, and how often it did.
pub const BREACHES: &str = "greet:breaches";
/// While this key exists the book refuses every write.
pub const CLOSED: &str = "greet:closed";
/// Name to the host on which it must be greeted. One at [`NOWHERE`] is always on the other of two hosts.
pub const PLACES: &str = "greet:places";
/// Of the hosts `a` and `b`, the one that the asking replica is not on.
pub const NOWHERE: &str = "nowhere";
/// Beginning of the key that says who greets this name.
const LEASE: &str = "greet:lease:";

/// Keys: closed, answers, lease, calls, places. Arguments: id, owner, lease in ms, the dead replica whose lease is not waited
/// for, the name and the host.
const BEGIN: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.error_reply('CLOSED the book of greetings is closed') end
local answer = redis.call('HGET', KEYS[2], ARGV[1])
if answer then return { 'answered', answer } end
local place = redis.call('HGET', KEYS[5], ARGV[5])
if place == 'nowhere' then place = ARGV[6] == 'a' and 'b' or 'a' end
if place and place ~= ARGV[6] then return { 'elsewhere', place } end
local owner = redis.call('GET', KEYS[3])
local is_of_dead = owner and ARGV[4] ~= '' and string.find(owner, ARGV[4] .. ' ', 1, true) == 1
if owner and owner ~= ARGV[2] and not is_of_dead then return { 'taken', tostring(redis.call('PTTL', KEYS[3])) } end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
return { 'begun', tostring(redis.call('HINCRBY', KEYS[4], ARGV[1], 1)) }";

/// Stores an answer unless there is one, and answers what is stored. Keys: closed, answers, lease, greeted. Arguments: id,
/// owner, name, then the answer; without one the name is greeted.
const FINISH: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.error_reply('CLOSED the book of greetings is closed') end
local answer = redis.call('HGET', KEYS[2], ARGV[1])
if not answer then
  answer = ARGV[4]
  if answer == '' then answer = 'greeted||Hello ' .. ARGV[3] .. ', ' .. redis.call('HINCRBY', KEYS[4], ARGV[3], 1) .. '|' end
  redis.call('HSET', KEYS[2], ARGV[1], answer)
end
if redis.call('GET', KEYS[3]) == ARGV[2] then redis.call('DEL', KEYS[3]) end
return answer";

/// Keys: lease. Arguments: owner.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end";

/// An answer that is stored, and is the answer from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// `greeted` or `refused`.
    pub result: String,
    /// The reason of the dead letter that goes with it.
    pub reason: Option<Reason>,
    /// What was said; empty where nothing was.
    pub greeting: String,
    /// The code and the message of a refusal; empty for a greeting.
    pub error: String,
}

impl Answered {
    fn text(&self) -> String {
        let Self { result, reason, greeting, error } = self;
        format!("{result}|{}|{greeting}|{error}", reason.map_or("", Reason::as_str))
    }

    /// As it is stored.
    pub fn of_text(text: &str) -> Self {
        let parts: Vec<&str> = text.splitn(4, '|').collect();
        let [result, reason, greeting, error] = parts[..] else { panic!("not an answer: {text}") };
        let reason = Reason::ALL.into_iter().find(|known| known.as_str() == reason);
        Self { result: result.to_owned(), reason, greeting: greeting.to_owned(), error: error.to_owned() }
    }
}

/// How a job begins.
#[derive(Debug)]
pub enum Begun {
    /// It is ours, and was begun so often.
    Ours(u64),
    /// It was answered before.
    Answered(Answered),
    /// Another attempt greets this name, and will for so long at most.
    Taken(Duration),
    /// It must be done on this host.
    Elsewhere(String),
}

/// The book of one replica.
#[derive(Debug)]
pub struct Book {
    pub commands: Arc<Connection>,
    /// The name of the replica: two attempts of one job are told apart by it.
    pub consumer: String,
    /// How long an attempt keeps a name where its replica dies.
    pub lease: Duration,
    /// The host of its replica.
    pub host: Option<String>,
}

impl Book {
    fn owner(&self, id: EntryId) -> String {
        format!("{} {id}", self.consumer)
    }

    /// Takes the name for this job.
    pub async fn begin(&self, attempt: &Attempt, name: &str) -> Result<Begun, RedisError> {
        let (lease, owner, id) = (format!("{LEASE}{name}"), self.owner(attempt.id), attempt.id.to_string());
        let (ms, dead) = (self.lease.as_millis().to_string(), attempt.dead_owner.as_deref().unwrap_or(""));
        let host = self.host.as_deref().unwrap_or("");
        let words = ["EVAL", BEGIN, "5", CLOSED, ANSWERS, &lease, CALLS, PLACES, &id, &owner, &ms, dead, name, host];
        let (what, value): (String, String) = self.commands.raw(&words).await?.convert()?;
        Ok(match what.as_str() {
            "answered" => Begun::Answered(Answered::of_text(&value)),
            "elsewhere" => Begun::Elsewhere(value),
            "taken" => Begun::Taken(Duration::from_millis(value.parse().unwrap_or(0))),
            _ => Begun::Ours(value.parse().expect("HINCRBY answers a number")),
        })
    }

    /// Greets the name, or stores this answer instead; an answer that is stored already stays.
    pub async fn finish(&self, id: EntryId, name: &str, instead: Option<Answered>) -> Result<Answered, RedisError> {
        let (lease, owner, id) = (format!("{LEASE}{name}"), self.owner(id), id.to_string());
        let answer = instead.map_or_else(String::new, |answer| answer.text());
        let words = ["EVAL", FINISH, "4", CLOSED, ANSWERS, &lease, GREETED, &id, &owner, name, &answer];
        let stored: String = self.commands.raw(&words).await?.convert()?;
        Ok(Answered::of_text(&stored))
    }

    /// Lets another job have the name.
    pub async fn release(&self, id: EntryId, name: &str) -> Result<(), RedisError> {
        let (lease, owner) = (format!("{LEASE}{name}"), self.owner(id));
        self.commands.raw(&["EVAL", RELEASE, "1", &lease, &owner]).await.map(drop)
    }

    /// Does it take writes?
    pub async fn is_open(&self) -> Result<(), RedisError> {
        let keys = [CLOSED, ANSWERS, "greet:lease:", "greet:probed", PLACES];
        let words = [&["EVAL", BEGIN, "5"][..], &keys, &["probe", "probe", "1", "", "", ""]].concat();
        self.commands.raw(&words).await.map(drop)
    }

    /// Something happened that must not happen.
    pub async fn breach(&self, what: &str) {
        self.commands.raw(&["HINCRBY", BREACHES, what, "1"]).await.expect("the breach is written down");
    }
}
