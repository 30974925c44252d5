//! The consumer group: every step an entry takes in Redis. Each step is one call, and each script stands beside the
//! file that calls it (`scripts/`).

// the id of an entry, and its order
pub mod entry_id;
// the names of streams and group, and how what they hold is kept
pub mod config;
// every key, from one place
pub mod keys;
// creating the group, and taking over from the legacy worker
pub mod adopt;
// new entries
pub mod read;
// entries nobody works on any more
pub mod claim;
// the payloads of entries that came by their ids
pub mod fetch;
// what is known about an entry before it is started
pub mod past;
// keeping what we hold
pub mod renew;
// counting service failures
pub mod fail;
// outcome, dead letter, ledger, acknowledgement and mirror in one step
pub mod settle;
// tidying
pub mod janitor;
// giving back what we will not start, and leaving
pub mod hand_back;
// the operator's side of the dead letters
pub mod dead_letters;
// an operator holds the whole fleet
pub mod pause;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::contract::Fields;
use crate::contract::dead_letter::size_of;
use crate::redis::{Connection, Key, RedisError, Script, Value};
use entry_id::EntryId;
use keys::Keys;

pub use config::{Config, OutcomeFields};

const PRELUDE: &str = include_str!("scripts/prelude.lua");
const BOOKKEEPING: &str = include_str!("scripts/bookkeeping.lua");

/// One entry, handed to this process by Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id in the jobs stream.
    pub id: EntryId,
    /// How it came to us.
    pub origin: Origin,
    /// How often it has been delivered, this time included.
    pub deliveries: u64,
    /// How often a process died with it.
    pub crashes: u64,
    /// How often the start service failed with it.
    pub failures: u64,
    /// The payload; none while it is still in the stream alone, and has to be fetched.
    pub fields: Option<Fields>,
}

impl Delivery {
    /// Bytes of its payload, as far as it is here.
    pub fn bytes(&self) -> usize {
        self.fields.as_deref().map_or(0, size_of)
    }
}

/// How an entry came to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Never delivered before.
    New,
    /// Taken over from a consumer that did not finish it.
    Claimed,
    /// Delivered to this process by a reply that was lost.
    Found,
}

/// The consumer group as one consumer sees it.
#[derive(Debug, Clone)]
pub struct Group {
    keys: Arc<Keys>,
    /// All keys in the order of the prelude's `KEYS`.
    key_list: Vec<Key>,
    settings: Arc<Config>,
    consumer: Arc<str>,
    commands: Arc<Connection>,
    scripts: Arc<Scripts>,
    told: Arc<Mutex<Option<Told>>>,
}

/// When this replica last told the ledger's index of a bucket.
#[derive(Debug, Clone, Copy)]
struct Told {
    hour: u64,
    at: Instant,
}

#[derive(Debug)]
struct Scripts {
    adopt: Script,
    claim: Script,
    renew: Script,
    fail: Script,
    settle: Script,
    hand_back: Script,
    leave: Script,
    janitor: Script,
    past: Script,
    known_fields: Script,
}

impl Scripts {
    fn new() -> Self {
        let script = |own: &str| Script::new(&format!("{PRELUDE}{BOOKKEEPING}{own}"));
        Self {
            adopt: script(include_str!("scripts/adopt.lua")),
            claim: script(include_str!("scripts/claim.lua")),
            renew: script(include_str!("scripts/renew.lua")),
            fail: script(include_str!("scripts/fail.lua")),
            settle: Script::new(&format!("{PRELUDE}{}", include_str!("scripts/settle.lua"))),
            hand_back: script(include_str!("scripts/hand_back.lua")),
            leave: script(include_str!("scripts/leave.lua")),
            janitor: script(include_str!("scripts/janitor.lua")),
            past: script(include_str!("scripts/past.lua")),
            known_fields: Script::new(include_str!("scripts/known_fields.lua")),
        }
    }
}

impl Group {
    /// The group of these settings, as `consumer` sees it. Touches nothing.
    pub fn new(settings: &Config, consumer: &str, commands: Arc<Connection>) -> Self {
        let keys = Keys::new(settings);
        let key_list = keys.listed().into_iter().map(Key::from).collect();
        Self {
            keys: Arc::new(keys),
            key_list,
            settings: Arc::new(settings.clone()),
            consumer: consumer.into(),
            commands,
            scripts: Arc::new(Scripts::new()),
            told: Arc::default(),
        }
    }

    /// Every key the group touches.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Who we are in the group.
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// The connection the scripts run on.
    pub fn commands(&self) -> &Arc<Connection> {
        &self.commands
    }

    /// The server's clock, in Unix milliseconds.
    pub async fn now_ms(&self) -> Result<u64, RedisError> {
        let (seconds, micros): (u64, u64) = self.commands.raw(&["TIME"]).await?.convert()?;
        Ok(seconds.saturating_mul(1_000).saturating_add(micros / 1_000))
    }

    /// Runs a script with all keys; `args` follow the group and the consumer. `ids` are those whose ledger buckets it will
    /// touch, as far as they are known; it says which others it needs, and is called again with those.
    async fn call(
        &self,
        script: &Script,
        ids: &[EntryId],
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Value, RedisError> {
        let args: Vec<Value> = args.into_iter().collect();
        let mut hours: BTreeSet<u64> = ids.iter().map(|id| id.ledger_hour()).collect();
        for _ in 0..NEED_KEYS_ROUNDS {
            let buckets = hours.iter().map(|hour| Key::from(self.keys.ledger_bucket(*hour)));
            let keys = self.key_list.iter().cloned().chain(buckets).collect();
            match self.call_with(script, keys, args.iter().cloned()).await {
                Err(error) if error.text.contains(NEED_KEYS) => hours.extend(hours_of(&error.text)),
                answer => return answer,
            }
        }
        Err(RedisError::unexpected("a script that needs ever more keys"))
    }

    async fn call_with(
        &self,
        script: &Script,
        keys: Vec<Key>,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Value, RedisError> {
        let mut argv: Vec<Value> = vec![self.settings.group.as_str().into(), (&*self.consumer).into()];
        argv.extend(args);
        script.run(&self.commands, keys, argv).await
    }
}

/// How a script asks for the ledger buckets of further hours before it writes anything; the hours follow.
const NEED_KEYS: &str = "NEEDKEYS ";
/// How often one call is asked for further buckets, of up to 64 hours each time.
const NEED_KEYS_ROUNDS: u32 = 64;

fn hours_of(text: &str) -> impl Iterator<Item = u64> {
    let after = text.split_once(NEED_KEYS).map_or("", |(_, after)| after);
    after.split(' ').map_while(|word| word.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok())
}

/// Milliseconds as Redis arguments take them.
fn millis(duration: Duration) -> Value {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).into()
}

/// A count as Redis arguments take it.
fn count(number: usize) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

/// The group's last-delivered id as the scripts answer it: empty where there is no group.
fn delivered_of(text: &str) -> Result<Option<EntryId>, RedisError> {
    if text.is_empty() { Ok(None) } else { id_of(text).map(Some) }
}

fn id_of(text: &str) -> Result<EntryId, RedisError> {
    text.parse().map_err(|_| RedisError::unexpected(&format!("entry id {text:?}")))
}
