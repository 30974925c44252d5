//! Lua scripts, called by hash and loaded again where the server has forgotten them.

use std::fmt;

use fred::interfaces::LuaInterface;
use fred::types::scripts::Script as FredScript;
use fred::types::{MultipleKeys, MultipleValues, Value};

use super::{Connection, RedisError};

/// How often one call loads its script again: a flush may fall between the loading and the call.
const LOADS_MAX: u32 = 3;

/// The text of a script: a header that Rust writes, then the Lua files. What both sides must agree on is written once, in
/// Rust, and the Lua files find it under a name.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Source(String);

impl Source {
    /// No text yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the first keys that the script is called with, in this order.
    pub fn keys(self, names: &[&str]) -> Self {
        let values = format!("unpack(KEYS, 1, {})", names.len());
        self.local(&names.join(", "), &values)
    }

    /// A whole number under this name.
    pub fn number(self, name: &str, number: impl fmt::Display) -> Self {
        self.local(name, &number.to_string())
    }

    /// A text under this name.
    pub fn text(self, name: &str, text: &str) -> Self {
        self.local(name, &quoted(text))
    }

    /// A list of texts under this name.
    pub fn texts(self, name: &str, texts: &[&str]) -> Self {
        let list: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        self.local(name, &format!("{{ {} }}", list.join(", ")))
    }

    fn local(mut self, names: &str, values: &str) -> Self {
        for text in ["local ", names, " = ", values, "\n"] {
            self.0.push_str(text);
        }
        self
    }

    /// A Lua file.
    pub fn part(mut self, lua: &str) -> Self {
        self.0 += lua;
        self
    }

    /// The script of this text.
    pub fn script(&self) -> Script {
        Script(FredScript::from_lua(self.0.as_str()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As a Lua text of any bytes.
fn quoted(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b' '..=b'~' if byte != b'\'' && byte != b'\\' => char::from(byte).to_string(),
        _ => format!("\\{byte:03}"),
    });
    format!("'{}'", escaped.collect::<String>())
}

/// A script, with its hash computed once.
#[derive(Debug, Clone)]
pub struct Script(FredScript);

impl Script {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_written_before_the_lua_files() {
        let source = Source::new()
            .keys(&["JOBS", "DEAD"])
            .number("HOUR_MS", 3_600_000)
            .text("LEDGER", ":l'\\:")
            .texts("NAMES", &["a", "b\n"])
            .part("return JOBS\n");
        let expected = "local JOBS, DEAD = unpack(KEYS, 1, 2)\nlocal HOUR_MS = 3600000\nlocal LEDGER = ':l\\039\\092:'\n\
            local NAMES = { 'a', 'b\\010' }\nreturn JOBS\n";
        assert_eq!(source.to_string(), expected);
    }
}
