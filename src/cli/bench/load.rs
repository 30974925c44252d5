//! `startjobs bench` without a further word: a load over time, and the report of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::flags::{REAL_STREAMS, aof, duration, flag, measured, open, print_json, settings, shared, subject, usage};
use crate::bench::generate::faults::Faults;
use crate::bench::generate::mix::{Games, Mix};
use crate::bench::generate::profile::{Profile, rate};
use crate::bench::generate::sender::Loop;
use crate::bench::measure::load::{self, LoadOptions};
use crate::bench::measure::slo::{Slo, share};
use crate::bench::report::run_report::RunReport;
use crate::bench::report::{csv, hdr, html, text};
use crate::bench::rig::children::Subject;
use crate::bench::rig::place::Aof;
use crate::cli::{common, exit};

const SHARES: [(&str, &str); 6] = [
    ("malformed", "Share of entries that are no job"),
    ("duplicate", "Share of jobs for a game named before"),
    ("conflict", "Share of jobs for such a game with another image"),
    ("poison", "Share of jobs that kill the process that starts them; it is replaced"),
    ("huge", "Share of jobs with a field of 256 KiB"),
    ("binary", "Share of entries with bytes that are no text"),
];

const FILES_HELP: &str = "Write the run to this file in this form";

/// Adds the flags of a load.
pub(super) fn flags(command: Command) -> Command {
    let files = ["csv", "hdr", "html"].map(|name| flag(name, "FILE", FILES_HELP).value_parser(value_parser!(PathBuf)));
    command
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

/// Runs the command.
pub(super) async fn run(matches: &ArgMatches) -> Result<u8, u8> {
    let options = load_options(matches)?;
    let faults = &options.faults;
    let aof = aof(matches, Aof::Everysec);
    if faults.restart_redis_every.is_some() && (matches.contains_id("redis-url") || aof == Aof::Off) {
        return usage("--restart-redis needs a private redis-server that keeps an append-only file");
    }
    let place = open(matches, aof)?;
    let server = place.server.clone();
    let ran = measured(place, async |place| load::run(place, &options).await).await?;
    let report = RunReport::new(&server, &options, &ran);
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
