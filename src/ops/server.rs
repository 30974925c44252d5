//! What the server says about itself.

use serde::Serialize;

use super::View;
use super::refusal::{Info, Refusal};
use crate::redis::{Kind, RedisError};

/// The server, as far as operators care. Unknown is what it does not let us see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Server {
    /// `redis`, or another name it gives itself.
    pub(crate) name: Option<String>,
    /// Its version.
    pub(crate) version: Option<String>,
    /// The append-only file is on.
    pub(crate) append_only: Option<bool>,
    /// What it does when memory runs out.
    pub(crate) eviction_policy: Option<String>,
    /// Bytes used.
    pub(crate) used_memory: Option<u64>,
    /// Bytes allowed; 0 where there is no limit.
    pub(crate) max_memory: Option<u64>,
    /// `master` or `slave`, in the server's own words.
    pub(crate) role: Option<String>,
    /// Why it refuses every write, where it does.
    pub(crate) refuses_writes: Option<Refusal>,
}

impl View {
    /// Asks; a server that does not let us look is unknown, not an error.
    pub(crate) async fn server(&self) -> Result<Server, RedisError> {
        let info = match self.connection.info().await {
            Ok(info) => info,
            Err(error) if error.kind == Kind::Unreachable => return Err(error),
            Err(_) => String::new(),
        };
        let fields = fields_of(&info);
        let refuses_writes = self.refusal(&fields).await?;
        Ok(Server { refuses_writes, ..of_info(&fields) })
    }
}

fn fields_of(info: &str) -> Info<'_> {
    info.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

fn of_info(fields: &Info<'_>) -> Server {
    let text = |name: &str| fields.get(name).map(|&value| value.to_owned());
    let number = |name: &str| fields.get(name).and_then(|value| value.parse().ok());
    Server {
        name: text("server_name").or_else(|| text("redis_version").map(|_| "redis".to_owned())),
        version: text("valkey_version").or_else(|| text("redis_version")),
        append_only: text("aof_enabled").map(|value| value == "1"),
        eviction_policy: text("maxmemory_policy"),
        used_memory: number("used_memory"),
        max_memory: number("maxmemory"),
        role: text("role"),
        refuses_writes: None,
    }
}

impl Server {
    /// One line for people.
    pub(crate) fn text(&self) -> String {
        let Some(version) = &self.version else { return "does not answer INFO".to_owned() };
        let name =
            self.name.as_deref().filter(|&name| name != "redis").map_or_else(String::new, |name| format!("{name} "));
        let persistence = match self.append_only {
            Some(true) => "append-only file on",
            Some(false) => "append-only file off",
            None => "persistence unknown",
        };
        let policy = self.eviction_policy.as_deref().unwrap_or("eviction policy unknown");
        format!("{name}{version}, {persistence}, {policy}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_as_far_as_it_goes() {
        let info =
            "# Server\r\nredis_version:7.0.15\r\naof_enabled:1\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
        assert_eq!(of_info(&fields_of(info)).text(), "7.0.15, append-only file on, noeviction");
        assert_eq!(of_info(&fields_of("")).text(), "does not answer INFO");
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n";
        assert_eq!(of_info(&fields_of(valkey)).text(), "valkey 8.1.0, persistence unknown, eviction policy unknown");
    }
}
