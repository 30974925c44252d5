//! Lua scripts, called by hash and loaded again where the server has forgotten them.

use fred::interfaces::LuaInterface;
use fred::types::scripts::Script as FredScript;
use fred::types::{MultipleKeys, MultipleValues, Value};

use super::{Connection, RedisError};

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
        connection.usable().await?;
        let client = connection.client();
        let keys: MultipleKeys = keys.into();
        let args: MultipleValues = args.try_into().map_err(|error| RedisError::from(error.into()))?;
        let reply: Result<Value, _> = client.evalsha(self.0.sha1().clone(), keys.clone(), args.clone()).await;
        let reply = match reply {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                self.0.load(client).await.map_err(|error| connection.failed(error))?;
                client.evalsha(self.0.sha1().clone(), keys, args).await
            }
            other => other,
        };
        if reply.is_ok() {
            connection.answered();
        }
        reply.map_err(|error| connection.failed(error))
    }
}
