//! Lua scripts, called by hash and loaded again where the server has forgotten them.

use std::fmt::{self, Write as _};

use fred::bytes_utils::Str;
use fred::interfaces::LuaInterface;
use fred::types::{MultipleKeys, MultipleValues};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::{Connection, Key, RedisError, Value};

/// How often one call loads its script again: a flush may fall between the loading and the call.
const LOADS_MAX: u32 = 3;

/// The text of a script: a header that Rust writes, then the Lua files. What both sides must agree on is written once, in
/// Rust, and the Lua files find it under a name.
#[derive(Debug, Clone, Default)]
#[must_use]
pub(crate) struct Source(String);

impl Source {
    /// No text yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Names the first keys that the script is called with, in this order.
    pub(crate) fn keys(self, names: &[&str]) -> Self {
        let values = format!("unpack(KEYS, 1, {})", names.len());
        self.local(&names.join(", "), &values)
    }

    /// A whole number under this name.
    pub(crate) fn number(self, name: &str, number: impl fmt::Display) -> Self {
        self.local(name, &number.to_string())
    }

    /// A text under this name.
    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        self.local(name, &quoted(text))
    }

    /// A list of texts under this name.
    pub(crate) fn texts(self, name: &str, texts: &[&str]) -> Self {
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
    pub(crate) fn part(mut self, lua: &str) -> Self {
        self.0 += lua;
        self
    }

    /// The script of this text.
    pub(crate) fn script(&self) -> Script {
        Script { hash: hash_of(&self.0).into(), source: self.0.clone() }
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
pub(crate) struct Script {
    source: String,
    /// The name that Redis gives it: the SHA-1 of its text in hexadecimal.
    hash: Str,
}

impl Script {
    /// Its text.
    pub(crate) fn text(&self) -> &str {
        &self.source
    }

    /// Runs the script. An error may leave it executed; every script of ours is safe to run again.
    pub(crate) async fn run<K: Into<Key>>(
        &self,
        connection: &Connection,
        keys: impl IntoIterator<Item = K>,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Value, RedisError> {
        let client = connection.client()?;
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
