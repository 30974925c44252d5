//! `startjobs bench`: put a fleet under load and measure it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tokio_util::sync::CancellationToken;

use super::{bench_recovery, common, exit};
use crate::bench::children::Subject;
use crate::bench::compare::compare;
use crate::bench::drain::{DrainOptions, Drained};
use crate::bench::faults::Faults;
use crate::bench::floor::Manner;
use crate::bench::load::{self, LoadOptions};
use crate::bench::mix::{Games, Mix};
use crate::bench::place::{Aof, Pairs, Place};
use crate::bench::profile::{Profile, rate};
use crate::bench::report::{RunReport, csv, hdr, html, runs, text};
use crate::bench::sender::Loop;
use crate::bench::slo::{Slo, share};
use crate::bench::{Error, floor, noop};
use crate::observe::log::{self, Destination};
use crate::redis::Kind;
use crate::settings::{Settings, Sources, Values};

const EXAMPLES: &str = "Examples:
  startjobs bench                                                   100 jobs a second for 30 s
  startjobs bench --rate 500/s --duration 2m --replicas 3 --html report.html
  startjobs bench --profile 'ramp 0..200/s 30s, burst 500 every 10s, soak 10m' --slo 'p99<500ms'
  startjobs bench --malformed 1% --poison 0.5% --kill-replica 'every 5s'
  startjobs bench --in-flight 64 --duration 30s                     closed loop, to find the capacity
  startjobs bench drain --compare floor                             throughput against a bare client
  startjobs bench report before.json after.json";

const AFTER: &str =
    "Everything runs on streams of its own, by default on a private redis-server, and is removed at the end.
Latency counts from when an entry was to be sent. Exit codes: 0 done; 1 failed; 2 usage; 3 accounting breach or a limit
missed; 69 there is no Redis; 78 a setting of the replicas is wrong.";

const SUBJECTS: [&str; 4] = ["worker", "noop", "floor", "floor-pipeline"];
const REDIS: [&str; 4] = ["redis-url", "redis-tls-ca-file", "redis-tls-cert-file", "redis-tls-key-file"];
const REAL_STREAMS: [&str; 4] = ["jobs-stream", "results-stream", "dead-stream", "group"];
const SHARES: [(&str, &str); 6] = [
    ("malformed", "Share of entries that are no job"),
    ("duplicate", "Share of jobs for a game named before"),
    ("conflict", "Share of jobs for such a game with another image"),
    ("poison", "Share of jobs that kill the process that starts them; it is replaced"),
    ("huge", "Share of jobs with a field of 256 KiB"),
    ("binary", "Share of entries with bytes that are no text"),
];

/// The command and its flags.
pub fn command() -> Command {
    let files = ["csv", "hdr", "html"].map(|name| flag(name, "FILE", FILES_HELP).value_parser(value_parser!(PathBuf)));
    Command::new("bench")
        .about("Put a fleet under load and measure it")
        .before_help(EXAMPLES)
        .after_help(AFTER)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .args(shared("3", "40ms", "info"))
        .arg(
            flag("rate", "RATE", "Sends per second, however the fleet keeps up")
                .default_value("100/s")
                .value_parser(|text: &str| rate(text)),
        )
        .arg(
            flag("profile", "PROFILE", "Load over time instead of one rate")
                .value_parser(value_parser!(Profile))
                .conflicts_with_all(["rate", "in-flight", "duration"]),
        )
        .arg(
            flag("in-flight", "COUNT", "Closed loop: keep so many entries unanswered")
                .value_parser(value_parser!(u64).range(1..=1_000_000))
                .conflicts_with("rate"),
        )
        .arg(duration("duration", "How long entries are sent").default_value("30s"))
        .arg(
            flag("jobs", "COUNT", "At most so many entries")
                .default_value("1000000")
                .value_parser(value_parser!(u64).range(1..=5_000_000)),
        )
        .arg(duration("warmup", "Not measured, from the beginning").default_value("2s"))
        .arg(duration("late-after", "A send is late when it leaves so long after it was due").default_value("1ms"))
        .arg(duration("rest-within", "How long the last answers may take").default_value("60s"))
        .arg(
            flag("seed", "NUMBER", "What the mix and the victims are drawn from")
                .default_value("1")
                .value_parser(value_parser!(u64)),
        )
        .arg(
            flag("games", "GAMES", "fresh, uniform:COUNT or zipf:COUNT")
                .default_value("fresh")
                .value_parser(Games::parse),
        )
        .args(SHARES.map(|(name, help)| flag(name, "SHARE", help).default_value("0").value_parser(a_share)))
        .arg(every("kill-replica", "Kill a replica, and start another"))
        .arg(every("pause-replica", "Stop a replica for --pause-for"))
        .arg(duration("pause-for", "Longer than claim-idle, so that others take over").default_value("10s"))
        .arg(every("restart-redis", "Kill the private redis-server, and start it again"))
        .arg(
            flag(
                "slo",
                "LIMIT",
                "What the run must keep, such as p99<500ms, errors<0.1%, rate>=190/s; may be repeated",
            )
            .action(ArgAction::Append)
            .value_parser(value_parser!(Slo)),
        )
        .args(files)
        .args(
            REAL_STREAMS
                .map(|name| flag(name, "NAME", "A stream that others serve; with --yes-real").requires("yes-real")),
        )
        .arg(
            Arg::new("yes-real")
                .long("yes-real")
                .action(ArgAction::SetTrue)
                .requires("redis-url")
                .help("Send to a real stream; nothing is started and nothing removed"),
        )
        .subcommand(drain_command())
        .subcommand(bench_recovery::command())
        .subcommand(Command::new("report").about("Compare runs by their JSON").arg(
            Arg::new("files").value_name("FILE").required(true).num_args(1..).value_parser(value_parser!(PathBuf)),
        ))
}

const FILES_HELP: &str = "Write the run to this file in this form";

pub(super) fn flag(name: &'static str, placeholder: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(placeholder).help(help)
}

pub(super) fn duration(name: &'static str, help: &'static str) -> Arg {
    flag(name, "DURATION", help).value_parser(humantime::parse_duration)
}

/// `every 5s`, or `5s`.
fn every(name: &'static str, help: &'static str) -> Arg {
    flag(name, "every DURATION", help).num_args(1..=2).value_parser(|text: &str| -> Result<Duration, String> {
        if text == "every" {
            return Ok(Duration::ZERO);
        }
        let time = text.strip_prefix("every ").unwrap_or(text).trim();
        let time = humantime::parse_duration(time).map_err(|_| "write every 5s".to_owned())?;
        if time < Duration::from_millis(100) { Err("at least every 100ms".to_owned()) } else { Ok(time) }
    })
}

fn a_share(text: &str) -> Result<f64, &'static str> {
    share(text).ok_or("a share is 1% or 0.01")
}

fn drain_command() -> Command {
    Command::new("drain")
        .about("Fill a backlog while nobody reads, then measure how fast it is answered")
        .args(shared("1", "0ms", "warn"))
        // As many as keep both sides busy when a start takes no time.
        .mut_arg("slots", |slots| slots.default_value("256"))
        .arg(
            flag("jobs", "COUNT", "Entries of one drain")
                .default_value("200000")
                .value_parser(value_parser!(u64).range(100..=5_000_000)),
        )
        .arg(
            flag("compare", "SUBJECT", "Measure this too, in alternating rounds; may be repeated")
                .action(ArgAction::Append)
                .value_parser(SUBJECTS),
        )
        .arg(
            flag("rounds", "COUNT", "Rounds; 5 where subjects are compared, else 1")
                .value_parser(value_parser!(u16).range(1..=100)),
        )
        .arg(duration("limit", "How long one drain may take").default_value("2m"))
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

/// What is measured in the worker's place; started by the bench alone.
pub fn subject_command() -> Command {
    Command::new("bench-subject")
        .hide(true)
        .about("Run what the bench measures in a worker's place")
        .arg(Arg::new("subject").required(true).value_parser(["noop", "floor", "floor-pipeline"]))
}

/// Runs one subject until it is told to stop.
pub fn run_subject(matches: &ArgMatches) -> ExitCode {
    let settings = match common::settings(&Sources::of_process(Values::new())) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let manner = match matches.get_one::<String>("subject").map(String::as_str) {
        Some("floor") => Manner::Script,
        Some("floor-pipeline") => Manner::Pipeline,
        _ => {
            log::install(settings.log_format, Destination::Stdout);
            return common::block_on(run_noop(settings));
        }
    };
    match floor::run(&settings, manner) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            eprintln!("startjobs: {error}");
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

async fn run_noop(settings: Settings) -> u8 {
    let Ok(mut stops) = common::Stops::listen() else { return exit::FAILED };
    let stop = CancellationToken::new();
    let mut replica = std::pin::pin!(noop::run(settings, stop.clone()));
    let finished = tokio::select! {
        finished = &mut replica => finished,
        _ = stops.next() => {
            stop.cancel();
            replica.await
        }
    };
    match finished {
        Ok(_) => exit::DONE,
        Err(error) => {
            eprintln!("startjobs: {error}");
            exit::CONFIG
        }
    }
}

/// Runs the command.
pub fn run(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("drain", matches)) => common::block_on(async { drain(matches).await.unwrap_or_else(|code| code) }),
        Some(("report", matches)) => ExitCode::from(report(matches)),
        Some(("recovery", matches)) => bench_recovery::run(matches),
        _ => common::block_on(async { under_load(matches).await.unwrap_or_else(|code| code) }),
    }
}

async fn under_load(matches: &ArgMatches) -> Result<u8, u8> {
    let mut stops = common::Stops::listen().map_err(|_| exit::FAILED)?;
    let options = load_options(matches)?;
    let faults = &options.faults;
    let aof = aof(matches, Aof::Everysec);
    if faults.restart_redis_every.is_some() && (matches.contains_id("redis-url") || aof == Aof::Off) {
        return usage("--restart-redis needs a private redis-server that keeps an append-only file");
    }
    let mut place = open(matches, aof)?;
    let ran = tokio::select! {
        report = load::run(&mut place, &options) => report.map_err(|error| say(&error)),
        code = stops.next() => Err(code),
    };
    if !place.close().await {
        eprintln!("startjobs: something of the run may be left behind");
    }
    let report = ran?;
    write_files(matches, &report)?;
    if matches.get_flag("json") {
        print_json(&report);
    } else {
        common::print(&text::text(&report));
    }
    Ok(if report.is_kept() { exit::DONE } else { exit::BREACH })
}

fn load_options(matches: &ArgMatches) -> Result<LoadOptions, u8> {
    let time = |name| matches.get_one::<Duration>(name).copied().unwrap_or_default();
    let share = |name| matches.get_one::<f64>(name).copied().unwrap_or_default();
    let every = |name| matches.get_many::<Duration>(name).and_then(|times| times.copied().find(|time| !time.is_zero()));
    let pace = match (matches.get_one::<Profile>("profile"), matches.get_one::<u64>("in-flight")) {
        (Some(profile), _) => Loop::Open(profile.clone()),
        (None, Some(in_flight)) => Loop::Closed(*in_flight, time("duration")),
        (None, None) => {
            let rate = matches.get_one::<f64>("rate").copied().unwrap_or_default();
            Loop::Open(Profile::steady(rate, time("duration")))
        }
    };
    let mix = Mix {
        malformed: share("malformed"),
        duplicate: share("duplicate"),
        conflict: share("conflict"),
        poison: share("poison"),
        huge: share("huge"),
        binary: share("binary"),
        games: matches.get_one::<Games>("games").copied().unwrap_or_default(),
    };
    mix.check().or_else(|error| usage(&error))?;
    let subject = subject(matches).unwrap_or(Subject::Worker);
    let faults = ["kill-replica", "pause-replica", "restart-redis"];
    let is_plain =
        mix == Mix { games: mix.games, ..Mix::default() } && !faults.into_iter().any(|name| matches.contains_id(name));
    if !subject.is_worker() && !is_plain {
        return usage("the floor answers plain jobs alone and survives nothing: no mix and no faults with it");
    }
    let is_real = matches.get_flag("yes-real");
    let mut settings = settings(matches)?;
    let given = |name: &str| Some((name.to_owned(), matches.get_one::<String>(name)?.clone()));
    settings.extend(REAL_STREAMS.into_iter().filter_map(given));
    if is_real && !(matches.contains_id("jobs-stream") && matches.contains_id("results-stream")) {
        return usage("--yes-real needs --jobs-stream and --results-stream: a real stream is never guessed");
    }
    let warmup = warmup(matches, &pace)?;
    Ok(LoadOptions {
        subject,
        replicas: if is_real { 0 } else { matches.get_one::<u16>("replicas").copied().unwrap_or(1).into() },
        settings,
        log_level: matches.get_one::<String>("log-level").cloned().unwrap_or_default(),
        pace,
        mix,
        seed: matches.get_one("seed").copied().unwrap_or_default(),
        jobs_max: matches.get_one("jobs").copied().unwrap_or_default(),
        warmup,
        late_after: time("late-after"),
        faults: Faults {
            kill_every: every("kill-replica"),
            pause_every: every("pause-replica"),
            pause_for: time("pause-for"),
            restart_redis_every: every("restart-redis"),
        },
        rest_within: time("rest-within"),
        slos: matches.get_many::<Slo>("slo").into_iter().flatten().cloned().collect(),
        is_real,
    })
}

/// The default leaves the most of a short run to be measured.
fn warmup(matches: &ArgMatches, pace: &Loop) -> Result<Duration, u8> {
    let length = pace.length();
    let warmup = matches.get_one::<Duration>("warmup").copied().unwrap_or_default();
    if matches.value_source("warmup") == Some(ValueSource::DefaultValue) {
        return Ok(warmup.min(length / 5));
    }
    if warmup >= length { usage("--warmup leaves nothing to measure") } else { Ok(warmup) }
}

fn write_files(matches: &ArgMatches, report: &RunReport) -> Result<(), u8> {
    let write = |name: &str, make: &dyn Fn() -> std::io::Result<Vec<u8>>| {
        let Some(file) = matches.get_one::<PathBuf>(name) else { return Ok(()) };
        make().and_then(|bytes| std::fs::write(file, bytes)).map_err(|error| {
            eprintln!("startjobs: cannot write {}: {error}", file.display());
            exit::FAILED
        })
    };
    write("csv", &|| Ok(csv::csv(report).into_bytes()))?;
    write("hdr", &|| hdr::hdr(report))?;
    write("html", &|| Ok(html::html(report).into_bytes()))
}

async fn drain(matches: &ArgMatches) -> Result<u8, u8> {
    let mut stops = common::Stops::listen().map_err(|_| exit::FAILED)?;
    let names = matches.get_many::<String>("compare").into_iter().flatten();
    let compared: Vec<Subject> = names.filter_map(|name| Subject::named(name)).collect();
    let default = if compared.is_empty() { Subject::Worker } else { Subject::Noop };
    let first = subject(matches).unwrap_or(default);
    let mut subjects = vec![first];
    subjects.extend(compared.into_iter().filter(|other| *other != first));
    let rounds = matches.get_one::<u16>("rounds").copied().unwrap_or(if subjects.len() > 1 { 5 } else { 1 });
    let options = DrainOptions {
        jobs: matches.get_one("jobs").copied().unwrap_or_default(),
        limit: matches.get_one("limit").copied().unwrap_or_default(),
        replicas: matches.get_one::<u16>("replicas").copied().unwrap_or(1).into(),
        settings: settings(matches)?,
        log_level: matches.get_one::<String>("log-level").cloned().unwrap_or_default(),
    };
    let place = open(matches, aof(matches, Aof::Off))?;
    let compared = tokio::select! {
        report = compare(&place, &subjects, rounds.into(), &options, say_round) => report.map_err(|error| say(&error)),
        code = stops.next() => Err(code),
    };
    if !place.close().await {
        eprintln!("startjobs: something of the run may be left behind");
    }
    let report = compared?;
    if matches.get_flag("json") {
        print_json(&report);
    } else {
        common::print(&report.table());
    }
    Ok(if report.exact { exit::DONE } else { exit::BREACH })
}

fn say_round(round: usize, subject: Subject, drained: &Drained) {
    let (round, subject) = (round + 1, subject.as_str());
    let Drained { entries_per_s, redis_us_per_entry, client_us_per_entry, .. } = drained;
    eprintln!(
        "round {round}: {subject:<14} {entries_per_s:>9.0} entries/s, Redis {redis_us_per_entry:.2} us, client {client_us_per_entry:.2} us an entry"
    );
}

/// Compares runs by their files.
fn report(matches: &ArgMatches) -> u8 {
    let read = |file: &PathBuf| -> Result<runs::Named, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let run = serde_json::from_str(&text).map_err(|error| format!("{} is no JSON: {error}", file.display()))?;
        Ok((name_of(file), run))
    };
    let files = matches.get_many::<PathBuf>("files").into_iter().flatten();
    let named: Result<Vec<runs::Named>, String> = files.map(read).collect();
    match named.and_then(|named| runs::table(&named)) {
        Ok(table) => {
            common::print(&table);
            exit::DONE
        }
        Err(error) => {
            eprintln!("startjobs: {error}");
            exit::FAILED
        }
    }
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn print_json(report: &impl serde::Serialize) {
    let json = serde_json::to_string_pretty(report).expect("texts and numbers always are JSON");
    common::print(&format!("{json}\n"));
}

fn open(matches: &ArgMatches, aof: Aof) -> Result<Place, u8> {
    let given = |name: &str| Some((name.to_owned(), matches.get_one::<String>(name)?.clone()));
    let redis: Pairs = REDIS.iter().filter_map(|name| given(name)).collect();
    Place::open(Some(redis).filter(|redis| !redis.is_empty()), aof).map_err(|error| say(&error))
}

fn subject(matches: &ArgMatches) -> Option<Subject> {
    matches.get_one::<String>("subject").and_then(|name| Subject::named(name))
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
            return usage(&format!("--set takes NAME=VALUE, not {pair}"));
        };
        if name == "engine" || REDIS.contains(&name) || REAL_STREAMS.contains(&name) {
            return usage(&format!("--set {name} would lead out of the bench"));
        }
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(pairs)
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
