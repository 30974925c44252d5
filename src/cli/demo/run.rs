//! The demonstration from its flags to its exit code: both parts in turn, then the summary.

use std::process::ExitCode;

use clap::Args;

use super::report::DemoReport;
use super::stage::Error;
use super::{engines, simulated};
use crate::cli::dev::words::say_no_redis;
use crate::cli::{exit, output, process, users_docker};
use crate::embedded::leftovers::Guard;
use crate::embedded::site::Site;
use crate::redis::Kind;

const EXAMPLES: &str = "Examples:
  startjobs demo
  startjobs demo --jobs 2000 --docker-containers 0
  startjobs demo --json | jq .simulated.account";

const NOTES: &str = "Everything runs on a redis-server of its own and is removed at the end. Every run sends the same jobs; which of them the
simulated engine fails depends on their entry ids.

Exit codes: 0 every job was answered exactly once; 1 failed; 2 usage; 3 a job was not; 69 redis-server is missing or
does not answer; 130, 143 or 129 stopped by a signal.";

/// Send jobs to a fleet on this machine, kill a replica, and show that every job was answered once
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(in crate::cli) struct DemoArgs {
    /// Number of entries that the simulated part sends
    #[arg(long, value_name = "COUNT", default_value = "300", value_parser = clap::value_parser!(u32).range(20..=20_000))]
    jobs: u32,
    /// Number of containers to start where a Docker Engine answers; 0 leaves that part out
    #[arg(long, value_name = "COUNT", default_value = "12", value_parser = clap::value_parser!(u16).range(0..=200))]
    docker_containers: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(in crate::cli) fn run(args: &DemoArgs) -> ExitCode {
    users_docker::warn_of_ignored_variables();
    process::block_on(async { demo(args).await.unwrap_or_else(|code| code) })
}

async fn demo(args: &DemoArgs) -> Result<u8, u8> {
    let mut stops = process::Stops::listen().map_err(|error| {
        eprintln!("startjobs: cannot listen for signals: {error}");
        exit::FAILED
    })?;
    let mut site = Site::open("demo").map_err(|error| say_no_redis(&error))?;
    let mut guard = None;
    let shown = tokio::select! {
        shown = show(&mut site, args, &mut guard) => shown.map_err(|error| say(&error)),
        code = stops.next() => Err(code),
    };
    // The replicas are gone by now, so nothing is started while this is removed.
    if let Some(guard) = guard {
        guard.finish().await;
    }
    site.close().await;
    let report = shown?;
    if args.json {
        output::print(&report.json());
    } else {
        output::print(&report.table());
        eprintln!("\nNext: {} dev keeps such a fleet running until Ctrl-C", process::program_as_typed());
    }
    Ok(if report.exact { exit::DONE } else { exit::BREACH })
}

async fn show(site: &mut Site, args: &DemoArgs, guard: &mut Option<Guard>) -> Result<DemoReport, Error> {
    let simulated = simulated::show(site, args.jobs).await?;
    let docker = engines::show(site, args.docker_containers, guard).await?;
    Ok(DemoReport::new(simulated, docker))
}

fn say(error: &Error) -> u8 {
    eprintln!("startjobs: the demonstration cannot go on: {error}");
    match error {
        Error::Redis(error) if error.kind == Kind::Unreachable => exit::UNAVAILABLE,
        _ => exit::FAILED,
    }
}
