//! `startjobs demo`: the promises, kept before one's eyes. Jobs are sent, a replica is killed, and the books are drawn.

// what is sent
mod plan;
// replicas, their streams and the books
mod progress;
mod stage;
// the two parts
mod engines;
mod simulated;
// what is looked at
mod crash;
mod lives;
// what is told
mod report;

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use self::report::Report;
use self::stage::Error;
use super::{common, dev, exit};
use crate::embedded::leftovers::Guard;
use crate::embedded::site::Site;
use crate::redis::Kind;

const EXAMPLES: &str = "Examples:
  startjobs demo
  startjobs demo --jobs 2000 --docker-containers 0
  startjobs demo --json | jq .simulated.account";

const AFTER: &str =
    "Everything runs on a redis-server of its own and is removed at the end. The sent jobs are the same at every run;
which of them the simulated engine fails depends on their entry ids.
Exit codes: 0 every entry was answered exactly once; 3 not so; 69 there is no redis-server.";

/// The command and its flags.
pub fn command() -> Command {
    let jobs = Arg::new("jobs")
        .long("jobs")
        .value_name("COUNT")
        .default_value("300")
        .value_parser(value_parser!(u32).range(20..=20_000))
        .help("How many entries the simulated part sends");
    let containers = Arg::new("docker-containers")
        .long("docker-containers")
        .value_name("COUNT")
        .default_value("12")
        .value_parser(value_parser!(u16).range(0..=200))
        .help("How many containers are started where a Docker Engine answers; 0 leaves that part out");
    Command::new("demo")
        .about("Send jobs to a fleet on this machine, kill a replica, and show that every job was answered once")
        .before_help(EXAMPLES)
        .after_help(AFTER)
        .args([jobs, containers])
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON"))
}

struct Options {
    jobs: u32,
    containers: u16,
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let options = Options {
        jobs: matches.get_one("jobs").copied().unwrap_or_default(),
        containers: matches.get_one("docker-containers").copied().unwrap_or_default(),
    };
    let json = matches.get_flag("json");
    common::say_ignored_variables();
    common::block_on(async move { demo(options, json).await.unwrap_or_else(|code| code) })
}

async fn demo(options: Options, json: bool) -> Result<u8, u8> {
    let mut stops = common::Stops::listen().map_err(|error| {
        eprintln!("startjobs: cannot listen for signals: {error}");
        exit::FAILED
    })?;
    let mut site = Site::open("demo").map_err(|error| dev::say_no_redis(&error))?;
    let mut guard = None;
    let shown = tokio::select! {
        shown = show(&mut site, &options, &mut guard) => shown.map_err(|error| say(&error)),
        code = stops.next() => Err(code),
    };
    // The replicas are gone by now, so nothing is started while this is removed.
    if let Some(guard) = guard {
        guard.finish().await;
    }
    site.close().await;
    let report = shown?;
    common::print(&if json { report.json() } else { report.table() });
    Ok(if report.exact { exit::DONE } else { exit::BREACH })
}

async fn show(site: &mut Site, options: &Options, guard: &mut Option<Guard>) -> Result<Report, Error> {
    let simulated = simulated::show(site, options.jobs).await?;
    let docker = engines::show(site, options.containers, guard).await?;
    Ok(Report::new(simulated, docker))
}

fn say(error: &Error) -> u8 {
    eprintln!("startjobs: the demonstration cannot go on: {error}");
    match error {
        Error::Redis(error) if error.kind == Kind::Unreachable => exit::UNAVAILABLE,
        _ => exit::FAILED,
    }
}
