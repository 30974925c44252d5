//! Where a run lives: a directory, a redis-server in it or one that was given, and names of its own in Redis.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;
use tokio::task::yield_now;

use super::target::Target;
use super::wire::{Token, Wire};
use crate::bench::Error;
use crate::embedded::leftovers::{Guard, Leftovers, directory_of_ours};
use crate::embedded::redis_server::RedisServer;
use crate::settings::{Settings, Sources, Values};

/// How a redis-server of the bench's own keeps its append-only file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Aof {
    /// None is kept.
    Off,
    /// Flushed once a second.
    Everysec,
    /// Flushed before every answer.
    Always,
}

/// Names and values of settings, in kebab-case.
pub(crate) type Pairs = Vec<(String, String)>;

/// A place to run in. Dropping it ends the server; the guard removes the directory even if this process is killed.
#[derive(Debug)]
pub(crate) struct Place {
    own: Option<RedisServer>,
    directory: TempDir,
    guard: Guard,
    program: PathBuf,
    /// `redis-url`, and what goes with it.
    redis: Pairs,
    tag: String,
    /// What has been made known of the server.
    pub(crate) server: Server,
}

/// What the server is, for the report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Server {
    /// Its version.
    pub(crate) version: String,
    /// `off`, `everysec`, `always`, `no`, or `unknown` where it does not tell.
    pub(crate) aof: String,
    /// Whether the bench started it.
    pub(crate) own: bool,
}

const PATIENCE: Duration = Duration::from_secs(30);
/// Keys removed with one command.
const PAGE: &str = "1000";

impl Place {
    /// A place with a redis-server of its own, or on the one that these settings name.
    pub(crate) fn open(redis: Option<Pairs>, aof: Aof) -> Result<Self, Error> {
        let program = std::env::current_exe()?;
        let directory = directory_of_ours(&std::env::temp_dir(), "bench")?;
        let leftovers = Leftovers { directory: Some(directory.path().to_owned()), engine: None };
        let guard = Guard::start(&program, &leftovers.arguments())?;
        let own = match redis {
            Some(_) => None,
            None => Some(RedisServer::start_guarded(directory.path(), Path::new("redis-server"), aof_options(aof))?),
        };
        let of_own = || own.iter().map(|server| ("redis-url".to_owned(), server.url())).collect();
        let redis = redis.unwrap_or_else(of_own);
        let server = Server { version: String::new(), aof: "unknown".to_owned(), own: own.is_some() };
        let tag = format!("bench:{}", uuid::Uuid::new_v4().simple());
        let mut place = Self { own, directory, guard, program, redis, tag, server };
        place.server = place.look()?;
        Ok(place)
    }

    fn look(&self) -> Result<Server, Error> {
        let mut wire = self.wire()?;
        let info = wire.text(&[b"INFO", b"server"])?.unwrap_or_default();
        let version =
            info.lines().find_map(|line| line.trim().strip_prefix("redis_version:")).unwrap_or("unknown").to_owned();
        // A server that hides its configuration is no reason to stop.
        let mut asked = |name: &str| config(&mut wire, name).unwrap_or_default();
        let aof = match asked("appendonly").as_str() {
            "no" => "off".to_owned(),
            "yes" => asked("appendfsync"),
            _ => "unknown".to_owned(),
        };
        Ok(Server { version, aof, own: self.own.is_some() })
    }

    /// A guard for something else, of the same making.
    pub(crate) fn guard(&self, leftovers: &Leftovers) -> io::Result<Guard> {
        Guard::start(&self.program, &leftovers.arguments())
    }

    /// The running program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Where logs go.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The redis-server, where the bench started it.
    pub(crate) fn own_server(&mut self) -> Option<&mut RedisServer> {
        self.own.as_mut()
    }

    /// A bare connection.
    pub(crate) fn wire(&self) -> Result<Wire, Error> {
        Ok(Wire::connect(&self.target()?, PATIENCE)?)
    }

    /// The server, for bare connections.
    pub(crate) fn target(&self) -> Result<Target, Error> {
        let settings = settings_of(&self.redis)?;
        Ok(Target::of(&settings.redis)?)
    }

    /// Settings of a fleet on streams and records of its own, then `more`.
    pub(crate) fn settings(&self, part: &str, more: &[(String, String)]) -> Pairs {
        let name = format!("{}:{part}", self.tag);
        let own: Pairs = [
            ("jobs-stream", format!("{name}:start_jobs")),
            ("results-stream", format!("{name}:job_results")),
            ("offset-key", format!("{name}:offset:{{label}}")),
            ("record-prefix", format!("{name}:")),
            ("engine", "simulated".to_owned()),
            ("log-format", "json".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        [self.redis.as_slice(), own.as_slice(), more].concat()
    }

    /// Removes every key of this run, or of one part of it. Other tasks run between two pages.
    pub(crate) async fn remove_keys(&self, part: Option<&str>) -> Result<(), Error> {
        let mut wire = self.wire()?;
        let pattern = part.map_or_else(|| format!("{}*", self.tag), |part| format!("{}:{part}:*", self.tag));
        let mut cursor = "0".to_owned();
        loop {
            let (next, keys) = scan(&mut wire, &cursor, &pattern)?;
            if !keys.is_empty() {
                // Not UNLINK: nothing of one round may still be at work in the next.
                wire.sender.begin(keys.len() + 1);
                wire.sender.word(b"DEL");
                for key in &keys {
                    wire.sender.word(key);
                }
                wire.sender.flush()?;
                wire.receiver.skip()?;
                wire.receiver.forget();
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
            yield_now().await;
        }
    }

    /// Removes everything; false where something stayed behind.
    pub(crate) async fn close(self) -> bool {
        let clean = self.own.is_some() || self.remove_keys(None).await.is_ok();
        drop(self.own);
        drop(self.directory);
        self.guard.finish().await && clean
    }
}

fn scan(wire: &mut Wire, cursor: &str, pattern: &str) -> io::Result<(String, Vec<Vec<u8>>)> {
    wire.sender.command(&[b"SCAN", cursor.as_bytes(), b"MATCH", pattern.as_bytes(), b"COUNT", PAGE.as_bytes()]);
    wire.sender.flush()?;
    let receiver = &mut wire.receiver;
    receiver.array()?;
    let next = receiver.text()?;
    let next = String::from_utf8_lossy(receiver.bytes(&next)).into_owned();
    let mut keys = Vec::new();
    for _ in 0..receiver.array()?.unwrap_or_default() {
        let key = receiver.text()?;
        keys.push(receiver.bytes(&key).to_vec());
    }
    receiver.forget();
    Ok((next, keys))
}

fn config(wire: &mut Wire, name: &str) -> io::Result<String> {
    wire.sender.command(&[b"CONFIG", b"GET", name.as_bytes()]);
    wire.sender.flush()?;
    let mut value = String::new();
    for _ in 0..wire.receiver.array()?.unwrap_or_default() {
        if let Token::Text(range) = wire.receiver.token()? {
            value = String::from_utf8_lossy(wire.receiver.bytes(&range)).into_owned();
        }
    }
    wire.receiver.forget();
    Ok(value)
}

fn aof_options(aof: Aof) -> &'static [&'static str] {
    match aof {
        Aof::Off => &["--appendonly", "no"],
        Aof::Everysec => &[],
        Aof::Always => &["--appendfsync", "always"],
    }
}

/// Settings of these names and values, and defaults: nothing of the user's environment.
pub(crate) fn settings_of(pairs: &Pairs) -> Result<Settings, Error> {
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    let simulated = Values::from([("engine", "simulated".to_owned())]);
    let environment = pairs.iter().map(|(name, value)| (variable(name), value.clone()));
    Ok(Settings::load(&Sources::new(simulated, environment))?.settings)
}
