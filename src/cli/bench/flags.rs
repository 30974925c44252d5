//! What the bench's commands share: flags, the place a measurement runs in, and how it ends.

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::bench::Error;
use crate::bench::children::Subject;
use crate::bench::place::{Aof, Pairs, Place};
use crate::cli::{common, exit};
use crate::ops::printable::json_pretty;
use crate::redis::Kind;
use crate::secret::without_credentials;

/// What can be put under load.
pub(super) const SUBJECTS: [&str; 4] = ["worker", "noop", "floor", "floor-pipeline"];
/// Where the Redis is, and how it is reached.
pub(super) const REDIS: [&str; 4] = ["redis-url", "redis-tls-ca-file", "redis-tls-cert-file", "redis-tls-key-file"];
/// The names of what the bench has of its own.
pub(super) const REAL_STREAMS: [&str; 4] = ["jobs-stream", "results-stream", "dead-stream", "group"];

pub(super) fn flag(name: &'static str, placeholder: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(placeholder).help(help)
}

pub(super) fn duration(name: &'static str, help: &'static str) -> Arg {
    flag(name, "DURATION", help).value_parser(humantime::parse_duration)
}

pub(super) fn shared(replicas: &'static str, latency: &'static str, level: &'static str) -> Vec<Arg> {
    vec![
        flag("subject", "SUBJECT", "What is put under load").value_parser(SUBJECTS),
        flag("replicas", "COUNT", "How many processes")
            .default_value(replicas)
            .value_parser(value_parser!(u16).range(1..=64)),
        flag("slots", "COUNT", "Slots of each replica")
            .default_value("64")
            .value_parser(value_parser!(u32).range(1..=10_000)),
        flag("engine-latency", "DURATION[..DURATION]", "How long a simulated start takes").default_value(latency),
        flag("set", "NAME=VALUE", "A further setting of the replicas; may be repeated").action(ArgAction::Append),
        flag("log-level", "LEVEL", "What the workers log")
            .default_value(level)
            .value_parser(["error", "warn", "info", "debug"]),
        flag("redis-url", "URL", "A Redis to use instead of a private redis-server"),
        flag("redis-tls-ca-file", "FILE", "The authorities of a Redis behind rediss://").requires("redis-url"),
        flag("redis-tls-cert-file", "FILE", "The client certificate that it is shown").requires("redis-url"),
        flag("redis-tls-key-file", "FILE", "The private key of the client certificate").requires("redis-url"),
        flag("aof", "MODE", "The private redis-server's append-only file").value_parser(["off", "everysec", "always"]),
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON"),
    ]
}

pub(super) fn print_json(report: &impl serde::Serialize) {
    common::print(&json_pretty(report));
}

pub(super) fn open(matches: &ArgMatches, aof: Aof) -> Result<Place, u8> {
    let given = |name: &str| Some((name.to_owned(), matches.get_one::<String>(name)?.clone()));
    let redis: Pairs = REDIS.iter().filter_map(|name| given(name)).collect();
    Place::open(Some(redis).filter(|redis| !redis.is_empty()), aof).map_err(|error| say(&error))
}

pub(super) fn subject(matches: &ArgMatches) -> Option<Subject> {
    matches.get_one::<String>("subject").and_then(|name| Subject::named(name))
}

/// What is measured: `--subject`, then what it is compared with. The worker alone, unless told otherwise, but without
/// its start service beside a floor, which has none.
pub(super) fn subjects(matches: &ArgMatches) -> Vec<Subject> {
    let names = matches.get_many::<String>("compare").into_iter().flatten();
    let compared: Vec<Subject> = names.filter_map(|name| Subject::named(name)).collect();
    let default = if compared.is_empty() { Subject::Worker } else { Subject::Noop };
    let first = subject(matches).unwrap_or(default);
    let mut subjects = vec![first];
    subjects.extend(compared.into_iter().filter(|other| *other != first));
    subjects
}

pub(super) fn aof(matches: &ArgMatches, default: Aof) -> Aof {
    match matches.get_one::<String>("aof").map(String::as_str) {
        Some("off") => Aof::Off,
        Some("always") => Aof::Always,
        Some(_) => Aof::Everysec,
        None => default,
    }
}

pub(super) fn settings(matches: &ArgMatches) -> Result<Pairs, u8> {
    let slots = matches.get_one::<u32>("slots").map(ToString::to_string).unwrap_or_default();
    let mut pairs: Pairs = vec![("slots".to_owned(), slots)];
    pairs.extend(
        matches
            .try_get_one::<String>("engine-latency")
            .ok()
            .flatten()
            .map(|latency| ("simulated-latency".to_owned(), latency.clone())),
    );
    for pair in matches.get_many::<String>("set").into_iter().flatten() {
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

/// Runs a measurement, unless it is interrupted, and removes everything either way.
pub(super) async fn measured<T>(
    mut place: Place,
    run: impl AsyncFnOnce(&mut Place) -> Result<T, Error>,
) -> Result<T, u8> {
    let mut stops = common::Stops::listen().map_err(|_| exit::FAILED)?;
    let ran = tokio::select! {
        ran = run(&mut place) => ran.map_err(|error| say(&error)),
        code = stops.next() => Err(code),
    };
    if !place.close().await {
        eprintln!("startjobs: something of the run may be left behind");
    }
    ran
}

pub(super) fn usage<T>(text: &str) -> Result<T, u8> {
    eprintln!("error: {text}");
    Err(common::USAGE)
}

/// Says why the run cannot go on; answers the exit code.
pub(super) fn say(error: &Error) -> u8 {
    eprintln!("startjobs: {error}");
    match error {
        Error::NoServer(_) => exit::UNAVAILABLE,
        Error::Redis(error) if error.kind == Kind::Unreachable => exit::UNAVAILABLE,
        Error::Settings(_) => exit::CONFIG,
        _ => exit::FAILED,
    }
}
