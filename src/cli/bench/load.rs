//! `startjobs bench` without a subcommand: a load over time, and the report of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, value_parser};

use super::flags::{Level, PlaceArgs, REAL_STREAMS, ReplicaArgs, subject_parser, usage};
use super::outcome::{code, measured, open, show};
use crate::bench::generate::faults::Faults;
use crate::bench::generate::mix::{Games, Mix};
use crate::bench::generate::profile::{Profile, rate};
use crate::bench::generate::sender::Loop;
use crate::bench::measure::load::{self, LoadOptions};
use crate::bench::measure::slo::{Slo, share};
use crate::bench::report::run_report::RunReport;
use crate::bench::report::{csv, hdr, html, text};
use crate::bench::rig::children::Subject;
use crate::bench::rig::place::{Aof, Pairs};
use crate::cli::exit;

/// Unless told otherwise, and then at most a fifth of the run.
const WARMUP: Duration = Duration::from_secs(2);

/// The flags of a load.
#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    /// What is put under load
    #[arg(long, value_name = "SUBJECT", value_parser = subject_parser())]
    subject: Option<Subject>,
    /// Number of processes
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = value_parser!(u16).range(1..=64))]
    replicas: u16,
    /// How long a simulated start takes
    #[arg(long, value_name = "DURATION[..DURATION]", default_value = "40ms")]
    engine_latency: String,
    #[command(flatten)]
    replica: ReplicaArgs,
    /// What the workers log
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Level::Info)]
    log_level: Level,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    mix: MixArgs,
    #[command(flatten)]
    faults: FaultArgs,
    /// A limit that the run must keep, such as p99<500ms, errors<0.1%, rate>=190/s; may be repeated
    #[arg(long, value_name = "LIMIT", action = ArgAction::Append)]
    slo: Vec<Slo>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    real: RealArgs,
}

/// When entries are sent, and what of it is measured.
#[derive(Debug, Args)]
struct PaceArgs {
    /// Sends per second, whether or not the fleet keeps up
    #[arg(long, value_name = "RATE", default_value = "100/s", value_parser = |text: &str| rate(text))]
    rate: f64,
    /// Load over time instead of one rate
    #[arg(long, value_name = "PROFILE", conflicts_with_all = ["rate", "in_flight", "duration"])]
    profile: Option<Profile>,
    /// Closed loop: keep this many entries unanswered
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..=1_000_000), conflicts_with = "rate")]
    in_flight: Option<u64>,
    /// How long entries are sent
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Maximum number of entries
    #[arg(long, value_name = "COUNT", default_value = "1000000", value_parser = value_parser!(u64).range(1..=5_000_000))]
    jobs: u64,
    /// Leave out the beginning of the run [default: 2s, at most a fifth of the run]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    warmup: Option<Duration>,
    /// Count a send as late when it leaves this long after it was due
    #[arg(long, value_name = "DURATION", default_value = "1ms", value_parser = humantime::parse_duration)]
    late_after: Duration,
    /// Maximum time that the last answers may take
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    rest_within: Duration,
}

/// What is sent.
#[derive(Debug, Args)]
struct MixArgs {
    /// Seed of the mix and of the choice of victims
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Games that jobs name: fresh, uniform:COUNT or zipf:COUNT
    #[arg(long, value_name = "GAMES", default_value = "fresh", value_parser = Games::parse)]
    games: Games,
    /// Share of entries that are no job
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = a_share)]
    malformed: f64,
    /// Share of jobs for a game that was named before
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = a_share)]
    duplicate: f64,
    /// Share of jobs for such a game with another image
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = a_share)]
    conflict: f64,
    /// Share of jobs that kill the process that starts them; it is replaced
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = a_share)]
    poison: f64,
    /// Share of jobs with a field of 256 KiB
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = a_share)]
    huge: f64,
    /// Share of entries with bytes that are no text
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = a_share)]
    binary: f64,
}

/// What is done to the fleet. The times are lists, because `every 5s` may be two words.
#[derive(Debug, Args)]
struct FaultArgs {
    /// Kill a replica and start another, at this interval
    #[arg(long, value_name = "every DURATION", num_args = 1..=2, action = ArgAction::Set, value_parser = every)]
    kill_replica: Vec<Duration>,
    /// Stop a replica for --pause-for, at this interval
    #[arg(long, value_name = "every DURATION", num_args = 1..=2, action = ArgAction::Set, value_parser = every)]
    pause_replica: Vec<Duration>,
    /// How long a replica is stopped; longer than claim-idle, so that others take over
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pause_for: Duration,
    /// Kill the private redis-server and start it again, at this interval
    #[arg(long, value_name = "every DURATION", num_args = 1..=2, action = ArgAction::Set, value_parser = every)]
    restart_redis: Vec<Duration>,
}

/// Where the report goes.
#[derive(Debug, Args)]
struct FileArgs {
    /// Write the seconds of the run to this file as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the histograms of the run to this file as an HdrHistogram log
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
    /// Write the report to this file as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A stream that a fleet elsewhere serves.
#[derive(Debug, Args)]
struct RealArgs {
    /// Send to a real stream; nothing is started and nothing is removed
    #[arg(long, requires = "redis_url")]
    yes_real: bool,
    /// The real stream of jobs; with --yes-real
    #[arg(long, value_name = "NAME", requires = "yes_real")]
    jobs_stream: Option<String>,
    /// The real stream of outcomes; with --yes-real
    #[arg(long, value_name = "NAME", requires = "yes_real")]
    results_stream: Option<String>,
    /// The real stream of dead letters; with --yes-real
    #[arg(long, value_name = "NAME", requires = "yes_real")]
    dead_stream: Option<String>,
    /// The real consumer group; with --yes-real
    #[arg(long, value_name = "NAME", requires = "yes_real")]
    group: Option<String>,
}

/// `every 5s`, or `5s`; zero for the word `every` alone.
fn every(text: &str) -> Result<Duration, String> {
    if text == "every" {
        return Ok(Duration::ZERO);
    }
    let time = text.strip_prefix("every ").unwrap_or(text).trim();
    let time = humantime::parse_duration(time).map_err(|_| "write every 5s".to_owned())?;
    if time < Duration::from_millis(100) { Err("at least every 100ms".to_owned()) } else { Ok(time) }
}

fn a_share(text: &str) -> Result<f64, &'static str> {
    share(text).ok_or("a share is 1% or 0.01")
}

/// Runs the command.
pub(super) async fn run(args: LoadArgs) -> Result<u8, u8> {
    let options = load_options(&args)?;
    let keeps_aof = args.place.server.aof != Some(Aof::Off);
    if options.faults.restart_redis_every.is_some() && (args.place.redis_url.is_some() || !keeps_aof) {
        return usage("--restart-redis needs a private redis-server that keeps an append-only file");
    }
    let place = open(&args.place, Aof::Everysec)?;
    let server = place.server.clone();
    let ran = measured(place, async |place| load::run(place, &options).await).await?;
    let report = RunReport::new(&server, &options, &ran);
    args.files.write(&report)?;
    show(&report, args.files.json, text::text);
    Ok(code(report.is_kept()))
}

fn load_options(args: &LoadArgs) -> Result<LoadOptions, u8> {
    let (mix, faults) = (args.mix.mix(), args.faults.faults());
    mix.check().or_else(|error| usage(&error))?;
    let subject = args.subject.unwrap_or(Subject::Worker);
    let is_plain = mix == Mix { games: mix.games, ..Mix::default() } && faults.are_none();
    if !subject.is_worker() && !is_plain {
        return usage("the floor answers plain jobs alone and survives nothing: no mix and no faults with it");
    }
    let RealArgs { yes_real: is_real, jobs_stream, results_stream, .. } = &args.real;
    let mut settings = args.replica.settings(Some(&args.engine_latency))?;
    settings.extend(args.real.names());
    if *is_real && !(jobs_stream.is_some() && results_stream.is_some()) {
        return usage("--yes-real needs --jobs-stream and --results-stream: a real stream is never guessed");
    }
    let pace = args.pace.pace();
    let warmup = args.pace.warmup(&pace)?;
    Ok(LoadOptions {
        subject,
        replicas: if *is_real { 0 } else { args.replicas.into() },
        settings,
        log_level: args.log_level.name(),
        pace,
        mix,
        seed: args.mix.seed,
        jobs_max: args.pace.jobs,
        warmup,
        late_after: args.pace.late_after,
        faults,
        rest_within: args.pace.rest_within,
        slos: args.slo.clone(),
        is_real: *is_real,
    })
}

impl PaceArgs {
    fn pace(&self) -> Loop {
        match (&self.profile, self.in_flight) {
            (Some(profile), _) => Loop::Open(profile.clone()),
            (None, Some(in_flight)) => Loop::Closed(in_flight, self.duration),
            (None, None) => Loop::Open(Profile::steady(self.rate, self.duration)),
        }
    }

    /// The default leaves most of a short run to be measured.
    fn warmup(&self, pace: &Loop) -> Result<Duration, u8> {
        let length = pace.length();
        match self.warmup {
            None => Ok(WARMUP.min(length / 5)),
            Some(warmup) if warmup >= length => usage("--warmup leaves nothing to measure"),
            Some(warmup) => Ok(warmup),
        }
    }
}

impl MixArgs {
    fn mix(&self) -> Mix {
        let &Self { seed: _, games, malformed, duplicate, conflict, poison, huge, binary } = self;
        Mix { malformed, duplicate, conflict, poison, huge, binary, games }
    }
}

impl FaultArgs {
    fn faults(&self) -> Faults {
        let interval = |times: &[Duration]| times.iter().copied().find(|time| !time.is_zero());
        Faults {
            kill_every: interval(&self.kill_replica),
            pause_every: interval(&self.pause_replica),
            pause_for: self.pause_for,
            restart_redis_every: interval(&self.restart_redis),
        }
    }
}

impl RealArgs {
    /// As settings.
    fn names(&self) -> Pairs {
        let given = [&self.jobs_stream, &self.results_stream, &self.dead_stream, &self.group];
        let pair = |(name, value): (&str, &Option<String>)| Some((name.to_owned(), value.clone()?));
        REAL_STREAMS.into_iter().zip(given).filter_map(pair).collect()
    }
}

impl FileArgs {
    fn write(&self, report: &RunReport) -> Result<(), u8> {
        let write = |file: &Option<PathBuf>, make: &dyn Fn() -> std::io::Result<Vec<u8>>| {
            let Some(file) = file else { return Ok(()) };
            make().and_then(|bytes| std::fs::write(file, bytes)).map_err(|error| {
                eprintln!("startjobs: cannot write {}: {error}", file.display());
                exit::FAILED
            })
        };
        write(&self.csv, &|| Ok(csv::csv(report).into_bytes()))?;
        write(&self.hdr, &|| hdr::hdr(report))?;
        write(&self.html, &|| Ok(html::html(report).into_bytes()))
    }
}
