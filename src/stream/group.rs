//! The group and its consumers: the keys, the scripts, and how a script is called.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::config::Config;
use super::entry_id::EntryId;
use super::keys::Keys;
use super::lua::{NEED_KEYS, NEED_KEYS_MAX, Scripts};
use crate::redis::packed::Strings;
use crate::redis::{Connection, Key, RedisError, Script, Value};

/// The consumer group: its keys and its scripts. What needs no consumer is asked here, by the operators' commands too.
#[derive(Debug, Clone)]
pub struct Group {
    pub(super) keys: Arc<Keys>,
    /// All keys in the order of `keys::LISTED`.
    pub(super) key_list: Arc<[Key]>,
    pub(super) settings: Arc<Config>,
    pub(super) commands: Arc<Connection>,
    pub(super) scripts: Arc<Scripts>,
    /// The names of the fields of an outcome, in wire order.
    pub(super) outcome_fields: &'static [&'static str],
}

/// One consumer of the group: a replica.
#[derive(Debug, Clone)]
pub struct Member {
    pub(super) group: Group,
    pub(super) consumer: Arc<str>,
}

impl Group {
    /// The group of these settings. Touches nothing.
    pub fn new(settings: &Config, commands: Arc<Connection>) -> Self {
        let keys = Keys::new(settings);
        let key_list = keys.listed().into_iter().map(Key::from).collect();
        Self {
            keys: Arc::new(keys),
            key_list,
            settings: Arc::new(settings.clone()),
            commands,
            scripts: Arc::new(Scripts::new()),
            outcome_fields: settings.outcome_fields.names(),
        }
    }

    /// The same, for outcomes with these fields.
    #[must_use]
    pub(crate) fn publishing(mut self, outcome_fields: &'static [&'static str]) -> Self {
        self.outcome_fields = outcome_fields;
        self
    }

    /// One consumer of the group. Touches nothing.
    pub fn member(&self, consumer: &str) -> Member {
        Member { group: self.clone(), consumer: consumer.into() }
    }

    /// Every key the group touches.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The connection the scripts run on.
    pub(crate) fn commands(&self) -> &Arc<Connection> {
        &self.commands
    }

    /// The server's clock, in Unix milliseconds.
    pub async fn now_ms(&self) -> Result<u64, RedisError> {
        self.commands.time_ms().await
    }

    /// Runs a script with all keys; `args` follow the name of the group. `ids` are those whose ledger buckets it will
    /// touch, as far as they are known; it says which others it needs, and is called again with those.
    pub(super) async fn call(
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

    pub(super) async fn call_with(
        &self,
        script: &Script,
        keys: Vec<Key>,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Value, RedisError> {
        let mut argv: Vec<Value> = vec![self.settings.group.as_str().into()];
        argv.extend(args);
        script.run(&self.commands, keys, argv).await
    }
}

impl Member {
    /// The same consumer, over another connection.
    pub(crate) fn over(&self, commands: Arc<Connection>) -> Self {
        Self { group: Group { commands, ..self.group.clone() }, consumer: Arc::clone(&self.consumer) }
    }

    /// The group it is in.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Its name in the group.
    pub(crate) fn consumer(&self) -> &str {
        &self.consumer
    }

    /// As [`Group::call`]; `args` follow the group and the consumer.
    pub(super) async fn call(
        &self,
        script: &Script,
        ids: &[EntryId],
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Value, RedisError> {
        self.group.call(script, ids, self.named(args)).await
    }

    pub(super) fn named(&self, args: impl IntoIterator<Item = Value>) -> Vec<Value> {
        std::iter::once(Value::from(&*self.consumer)).chain(args).collect()
    }
}

/// How often one call is asked for further buckets, of up to [`NEED_KEYS_MAX`] hours each time.
const NEED_KEYS_ROUNDS: u64 = NEED_KEYS_MAX;

fn hours_of(text: &str) -> impl Iterator<Item = u64> {
    let after = text.split_once(NEED_KEYS).map_or("", |(_, after)| after);
    after.split(' ').map_while(|word| word.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok())
}

/// Milliseconds as Redis arguments take them.
pub(super) fn millis(duration: Duration) -> Value {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).into()
}

/// Ids as one argument.
pub(super) fn packed(ids: &[EntryId]) -> Result<Value, RedisError> {
    let mut strings = Strings::expecting(ids.len() * 20);
    for id in ids {
        strings.push(id.to_string().as_bytes());
    }
    strings.into_array().map(Value::from)
}

/// A count as Redis arguments take it.
pub(super) fn count(number: usize) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

/// The generation of a subscription as the scripts take it.
pub(super) fn generation_of(generation: Option<u64>) -> Value {
    i64::try_from(generation.unwrap_or(0)).unwrap_or(i64::MAX).into()
}

/// The group's last-delivered id as the scripts answer it: empty where there is no group.
pub(super) fn delivered_of(text: &str) -> Result<Option<EntryId>, RedisError> {
    if text.is_empty() { Ok(None) } else { id_of(text).map(Some) }
}

pub(super) fn id_of(text: &str) -> Result<EntryId, RedisError> {
    text.parse().map_err(|_| RedisError::unexpected(&format!("entry id {text:?}")))
}
