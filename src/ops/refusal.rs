//! Whether Redis takes writes, and if it does not, why. It refuses them and answers reads: only a write shows it.

use std::collections::HashMap;

use serde::Serialize;

use super::View;
use super::printable::printable;
use crate::redis::{Kind, RedisError, Value};

/// Why every write is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Why {
    /// `NOREPLICAS`: fewer replicas follow than `min-replicas-to-write`.
    TooFewReplicas,
    /// `OOM`: `maxmemory` is used up, and nothing may be evicted.
    MemoryFull,
    /// `READONLY`: it follows another server.
    ReadOnly,
    /// `MISCONF`: the last snapshot or write of the append-only file has failed.
    CannotSave,
}

/// Redis refuses every write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    /// Why.
    pub(crate) why: Why,
    /// What was found, for people: the rest of "Redis refuses writes: ".
    pub(crate) found: String,
}

/// What INFO says, by name.
pub(super) type Info<'a> = HashMap<&'a str, &'a str>;

impl Why {
    const ALL: [Self; 4] = [Self::TooFewReplicas, Self::MemoryFull, Self::ReadOnly, Self::CannotSave];

    /// How Redis begins its refusal.
    fn word(self) -> &'static str {
        match self {
            Self::TooFewReplicas => "NOREPLICAS",
            Self::MemoryFull => "OOM",
            Self::ReadOnly => "READONLY",
            Self::CannotSave => "MISCONF",
        }
    }

    /// Why Redis refused a call with these words.
    pub(crate) fn of_words(said: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| begins(said, why.word()))
    }

    /// Does INFO alone show it? With the rights to write the words of a refusal say more.
    fn is_in(self, info: &Info<'_>) -> bool {
        let field = |name: &str| info.get(name).copied().unwrap_or_default();
        let number = |name: &str| field(name).parse::<u64>().unwrap_or_default();
        match self {
            // Redis tells how many follow only where it asks for one at least.
            Self::TooFewReplicas => field("min_slaves_good_slaves") == "0",
            Self::MemoryFull => {
                let max = number("maxmemory");
                max > 0 && field("maxmemory_policy") == "noeviction" && number("used_memory") > max
            }
            Self::ReadOnly => field("role") == "slave" && field("slave_read_only") == "1",
            // A snapshot that failed stops writes only where the settings say so, which INFO does not tell.
            Self::CannotSave => field("aof_enabled") == "1" && field("aof_last_write_status") == "err",
        }
    }

    fn found(self, info: &Info<'_>) -> String {
        let field = |name: &str| info.get(name).copied().filter(|value| !value.is_empty());
        let mib = |name: &str| field(name)?.parse::<u64>().ok().map(|bytes| format!("{} MiB", bytes >> 20));
        match self {
            Self::TooFewReplicas => {
                let follow = field("min_slaves_good_slaves").or_else(|| field("connected_slaves"));
                let follow = follow.map_or_else(String::new, |count| format!(" ({count} follow in time)"));
                format!("fewer replicas of it follow than min-replicas-to-write asks for{follow}")
            }
            Self::MemoryFull => {
                let amount = mib("used_memory").zip(mib("maxmemory"));
                let amount = amount.map_or_else(String::new, |(used, max)| format!(" ({used} of {max})"));
                format!("its memory is full{amount}")
            }
            Self::ReadOnly => {
                let primary = field("master_host").zip(field("master_port"));
                let primary =
                    primary.map_or_else(String::new, |(host, port)| format!(" of {}:{port}", printable(host)));
                format!("it is a read-only replica{primary}")
            }
            Self::CannotSave if field("rdb_last_bgsave_status") == Some("err") => {
                "its last snapshot has failed".to_owned()
            }
            Self::CannotSave => "it cannot write its append-only file".to_owned(),
        }
    }

    /// What helps.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::TooFewReplicas => {
                "bring the replicas of Redis back; lower min-replicas-to-write only if a failover may lose outcomes"
            }
            Self::MemoryFull => "raise maxmemory, then set results-retention and trim-jobs",
            Self::ReadOnly => "point redis-url at the primary, or promote this server if the primary is gone",
            Self::CannotSave => {
                "make room on the disk of Redis and read its log; after a snapshot, run BGSAVE: writes go on when it succeeds"
            }
        }
    }
}

impl Refusal {
    /// The whole sentence, without a full stop.
    pub(crate) fn sentence(&self) -> String {
        format!("Redis refuses writes: {} ({})", self.found, self.why.word())
    }

    /// What was tried where that may be tried, else what INFO shows.
    fn of(tried: Option<&str>, info: &Info<'_>) -> Option<Self> {
        let in_info = || Why::ALL.into_iter().find(|why| why.is_in(info));
        let why = tried.map_or_else(in_info, Why::of_words)?;
        Some(Self { why, found: why.found(info) })
    }
}

/// Servers of 6.2 bury the word of an error in a longer text.
fn begins(said: &str, word: &str) -> bool {
    said.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|part| part == word)
}

/// A right is missing: nothing was tried.
fn is_denied(said: &str) -> bool {
    ["NOPERM", "can't run this command", "can't access", "No permissions"].iter().any(|words| said.contains(words))
}

impl View {
    /// Whether Redis takes writes, as it says itself, or as its INFO shows where the user may not write.
    pub(super) async fn refusal(&self, info: &Info<'_>) -> Result<Option<Refusal>, RedisError> {
        let reply = self.scripts.writable.run(&self.connection, vec![self.keys.ledgers.clone()], Vec::new()).await;
        let said = match reply.and_then(Value::convert::<bytes::Bytes>) {
            Ok(said) => Some(String::from_utf8_lossy(&said).into_owned()).filter(|said| !is_denied(said)),
            Err(error) if error.kind == Kind::Unreachable => return Err(error),
            // A user that runs no script sees what INFO shows.
            Err(_) => None,
        };
        Ok(Refusal::of(said.as_deref(), info))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(tried: Option<&str>, info: &[(&'static str, &'static str)]) -> Option<String> {
        Refusal::of(tried, &info.iter().copied().collect()).map(|refusal| refusal.sentence())
    }

    #[test]
    fn each_refusal_is_told_in_its_own_words() {
        for (said, expected) in [
            (
                "NOREPLICAS Not enough good replicas to write.",
                "Redis refuses writes: fewer replicas of it follow than min-replicas-to-write asks for (NOREPLICAS)",
            ),
            (
                "ERR Error running script: @user_script: 3: -OOM command not allowed",
                "Redis refuses writes: its memory is full (OOM)",
            ),
            (
                "READONLY You can't write against a read only replica.",
                "Redis refuses writes: it is a read-only replica (READONLY)",
            ),
            (
                "MISCONF Errors writing to the AOF file",
                "Redis refuses writes: it cannot write its append-only file (MISCONF)",
            ),
        ] {
            assert_eq!(found(Some(said), &[]).as_deref(), Some(expected));
        }
        assert_eq!(found(Some(""), &[("role", "slave"), ("slave_read_only", "1")]), None, "what was tried decides");
        assert_eq!(found(Some("WRONGTYPE Operation against a key"), &[]), None, "the write was let through");
    }

    #[test]
    fn without_the_right_to_write_info_decides_as_far_as_it_is_sure() {
        assert_eq!(found(None, &[]), None);
        assert_eq!(found(None, &[("role", "slave"), ("slave_read_only", "0")]), None);
        let replica =
            [("role", "slave"), ("slave_read_only", "1"), ("master_host", "10.0.0.1"), ("master_port", "6379")];
        assert!(found(None, &replica).is_some_and(|said| said.contains("a read-only replica of 10.0.0.1:6379 (")));
        assert!(
            found(None, &[("min_slaves_good_slaves", "0")]).is_some_and(|said| said.contains("(0 follow in time)"))
        );
        let full = [("maxmemory", "2097152"), ("maxmemory_policy", "noeviction"), ("used_memory", "3145728")];
        assert!(found(None, &full).is_some_and(|said| said.contains("its memory is full (3 MiB of 2 MiB)")));
        assert_eq!(found(None, &[("rdb_last_bgsave_status", "err")]), None, "it may take writes all the same");
        assert!(
            is_denied("NOPERM this user has no permissions")
                && is_denied("The user executing the script can't run this command or subcommand")
        );
    }
}
