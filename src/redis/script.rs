//! Lua scripts, called by hash and loaded again where the server has forgotten them.

use std::fmt::Write as _;

use fred::bytes_utils::Str;
use fred::interfaces::LuaInterface;
use fred::types::{MultipleKeys, MultipleValues};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::{Connection, Key, RedisError, Value};

/// How often one call loads its script again: a flush may fall between the loading and the call.
const LOADS_MAX: u32 = 3;

/// A script, with its hash computed once.
#[derive(Debug, Clone)]
pub struct Script {
    source: String,
    /// The name that Redis gives it: the SHA-1 of its text in hexadecimal.
    hash: Str,
}

impl Script {
    /// The script of this text.
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned(), hash: hash_of(source).into() }
    }

    /// Runs the script. An error may leave it executed; every script of ours is safe to run again.
    pub async fn run<K: Into<Key>>(
        &self,
        connection: &Connection,
        keys: impl IntoIterator<Item = K>,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Value, RedisError> {
        let client = connection.client();
        let keys: MultipleKeys = keys.into_iter().map(|key| key.into().0).collect();
        let args: MultipleValues = args
            .into_iter()
            .map(|arg| arg.0)
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|error| RedisError::from(&error))?;
        let call = || client.evalsha(self.hash.clone(), keys.clone(), args.clone());
        let mut reply = call().await;
        for _ in 0..LOADS_MAX {
            if !reply.as_ref().is_err_and(|error| error.details().starts_with("NOSCRIPT")) {
                break;
            }
            connection.heard(client.script_load::<(), _>(self.source.as_str()).await)?;
            reply = call().await;
        }
        connection.heard(reply).map(Value)
    }
}

fn hash_of(source: &str) -> String {
    let mut hash = String::new();
    for byte in digest(&SHA1_FOR_LEGACY_USE_ONLY, source.as_bytes()).as_ref() {
        _ = write!(hash, "{byte:02x}");
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_called_by_the_name_that_redis_gives_it() {
        assert_eq!(hash_of("return 1"), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
