//! Lua scripts, called by hash and loaded again where the server has forgotten them.

use fred::interfaces::LuaInterface;
use fred::types::scripts::Script as FredScript;
use fred::types::{MultipleKeys, MultipleValues, Value};

use super::{Connection, RedisError};

/// How often one call loads its script again: a flush may fall between the loading and the call.
const LOADS_MAX: u32 = 3;

/// A script, with its hash computed once.
#[derive(Debug, Clone)]
pub struct Script(FredScript);

impl Script {
    /// The script of this text.
    pub fn new(source: &str) -> Self {
        Self(FredScript::from_lua(source))
    }

    /// Runs the script. An error may leave it executed; every script of ours is safe to run again.
    pub async fn run<K, A>(&self, connection: &Connection, keys: K, args: A) -> Result<Value, RedisError>
    where
        K: Into<MultipleKeys> + Send,
        A: TryInto<MultipleValues> + Send,
        A::Error: Into<fred::error::Error> + Send,
    {
        let client = connection.client();
        let keys: MultipleKeys = keys.into();
        let args: MultipleValues = args.try_into().map_err(|error| RedisError::from(error.into()))?;
        let call = || client.evalsha::<Value, _, _, _>(self.0.sha1().clone(), keys.clone(), args.clone());
        let mut reply = call().await;
        for _ in 0..LOADS_MAX {
            if !reply.as_ref().is_err_and(|error| error.details().starts_with("NOSCRIPT")) {
                break;
            }
            self.0.load(&client).await.map_err(|error| connection.failed(error))?;
            reply = call().await;
        }
        if reply.is_ok() {
            connection.answered();
        }
        reply.map_err(|error| connection.failed(error))
    }
}
