//! The flags that measurements share, and what they mean.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, ValueEnum, value_parser};

use crate::bench::rig::children::Subject;
use crate::bench::rig::place::{Aof, Pairs};
use crate::cli::{exit, output};
use crate::secret::without_credentials;

/// What can be put under load.
const SUBJECTS: [&str; 4] = ["worker", "noop", "floor", "floor-pipeline"];
/// Where the Redis is, and how it is reached.
const REDIS: [&str; 7] = [
    "redis-url",
    "redis-tls-ca-file",
    "redis-tls-cert-file",
    "redis-tls-key-file",
    "redis-sentinel-user",
    "redis-sentinel-password-file",
    "redis-sentinel-tls",
];
/// The names of what the bench has of its own.
pub(super) const REAL_STREAMS: [&str; 4] = ["jobs-stream", "results-stream", "dead-stream", "group"];

/// How replicas are set up.
#[derive(Debug, Args)]
pub(super) struct ReplicaArgs {
    /// Number of slots of each replica
    #[arg(long, value_name = "COUNT", default_value = "64", value_parser = value_parser!(u32).range(1..=10_000))]
    pub(super) slots: u32,
    /// Another setting of the replicas; may be repeated
    #[arg(long, value_name = "NAME=VALUE", action = ArgAction::Append)]
    set: Vec<String>,
}

/// Where a run takes place.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// Use this Redis instead of a private redis-server
    #[arg(long, value_name = "URL")]
    pub(super) redis_url: Option<String>,
    /// The authorities of a Redis behind rediss://
    #[arg(long, value_name = "FILE", requires = "redis_url")]
    redis_tls_ca_file: Option<String>,
    /// The client certificate to show to that Redis
    #[arg(long, value_name = "FILE", requires = "redis_url")]
    redis_tls_cert_file: Option<String>,
    /// The private key of the client certificate
    #[arg(long, value_name = "FILE", requires = "redis_url")]
    redis_tls_key_file: Option<String>,
    /// The user that asks the sentinels
    #[arg(long, value_name = "NAME", requires = "redis_url")]
    redis_sentinel_user: Option<String>,
    /// A file that holds the password for the sentinels
    #[arg(long, value_name = "FILE", requires = "redis_url")]
    redis_sentinel_password_file: Option<String>,
    /// Whether connections to the sentinels are encrypted as those to Redis are: same or off
    #[arg(long, value_name = "WORD", requires = "redis_url")]
    redis_sentinel_tls: Option<String>,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

/// The private redis-server.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// The append-only file of the private redis-server
    #[arg(long, value_name = "MODE", value_parser = aof_parser())]
    pub(super) aof: Option<Aof>,
}

/// What is measured, and what it is compared with.
#[derive(Debug, Args)]
pub(super) struct ComparedArgs {
    /// What is put under load
    #[arg(long, value_name = "SUBJECT", value_parser = subject_parser())]
    subject: Option<Subject>,
    /// Measure this too, in alternating rounds; may be repeated
    #[arg(long, value_name = "SUBJECT", action = ArgAction::Append, value_parser = subject_parser())]
    compare: Vec<Subject>,
}

/// What workers log.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    pub(super) fn name(self) -> String {
        let name = match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        };
        name.to_owned()
    }
}

impl ComparedArgs {
    /// `--subject`, then what it is compared with. The worker alone, unless told otherwise, but without its start
    /// service beside a floor, which has none.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        let default = if self.compare.is_empty() { Subject::Worker } else { Subject::Noop };
        let first = self.subject.unwrap_or(default);
        let others = self.compare.iter().copied().filter(|other| *other != first);
        [first].into_iter().chain(others).collect()
    }
}

impl ReplicaArgs {
    /// As settings of the replicas.
    pub(super) fn settings(&self, engine_latency: Option<&str>) -> Result<Pairs, u8> {
        let mut pairs: Pairs = vec![("slots".to_owned(), self.slots.to_string())];
        pairs.extend(engine_latency.map(|latency| ("simulated-latency".to_owned(), latency.to_owned())));
        for pair in &self.set {
            let Some((name, value)) = pair.split_once('=') else {
                return usage(&format!("--set takes NAME=VALUE, not {}", without_credentials(pair)));
            };
            if name == "engine" || REDIS.contains(&name) || REAL_STREAMS.contains(&name) {
                return usage(&format!("--set {name} would lead out of the bench"));
            }
            pairs.push((name.to_owned(), value.to_owned()));
        }
        Ok(pairs)
    }
}

impl PlaceArgs {
    /// As settings: empty for a private redis-server.
    pub(super) fn redis(&self) -> Pairs {
        let given = [
            &self.redis_url,
            &self.redis_tls_ca_file,
            &self.redis_tls_cert_file,
            &self.redis_tls_key_file,
            &self.redis_sentinel_user,
            &self.redis_sentinel_password_file,
            &self.redis_sentinel_tls,
        ];
        let pair = |(name, value): (&str, &Option<String>)| Some((name.to_owned(), value.clone()?));
        REDIS.into_iter().zip(given).filter_map(pair).collect()
    }
}

/// One of the subjects by name.
pub(super) fn subject_parser() -> impl TypedValueParser<Value = Subject> {
    PossibleValuesParser::new(SUBJECTS).try_map(|name| Subject::named(&name).ok_or("no such subject"))
}

fn aof_parser() -> impl TypedValueParser<Value = Aof> {
    PossibleValuesParser::new(["off", "everysec", "always"]).map(|mode| match mode.as_str() {
        "off" => Aof::Off,
        "always" => Aof::Always,
        _ => Aof::Everysec,
    })
}

/// Says what is wrong with the arguments as a whole; answers the exit code.
pub(super) fn usage<T>(text: &str) -> Result<T, u8> {
    output::complain(text, "");
    Err(exit::USAGE)
}
