//! The command: its flags, and a fleet from its first process to its last.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::clean_up::{self, CleanUpArgs};
use super::drain::drain;
use super::engines::Engines;
use super::watch::watch;
use super::words::{failed, say_no_redis};
use super::{hosts, sentinel};
use crate::cli::{exit, fleet_settings, output, process, users_docker};
use crate::embedded::fleet::{Fleet, FleetOptions};
use crate::embedded::site::Site;

const EXAMPLES: &str = "Examples:
  startjobs dev
  startjobs dev --replicas 5
  startjobs dev --hosts 3
  startjobs dev --topology sentinel
  startjobs dev --engine docker
  sudo startjobs dev --engine docker --hosts 3";

const NOTES: &str = "With --hosts each replica is on one of the hosts, in turn. A simulated host has containers of its own. With --engine
docker each host has a private dockerd, for which dockerd and root are needed; images that this machine's own engine has
are not on them. The banner names the processes of each host. Kill all of one host: the other hosts answer its jobs after
its heartbeat, 5 s.

With --topology sentinel there are a master, two replicas of it and three sentinels. Jobs are sent, the master is killed, and the
command says which server is the master then and what became of every job.

Exit codes: 0 stopped by Ctrl-C and drained; 1 failed; 2 usage; 69 redis-server or the Docker Engine is unavailable; 78
a setting is wrong.";

/// Replicas of a fleet for which no number is given, at least.
const REPLICAS: u16 = 3;

/// Run a whole fleet on this machine, until Ctrl-C
///
/// It consists of a private redis-server, which only your own user can reach, and replicas of this program. Everything
/// is in a temporary directory, which is removed at the end, even if this process is killed.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(in crate::cli) struct DevArgs {
    /// Number of replicas, at least one for each host [default: 3, or one for each host]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    replicas: Option<u16>,
    /// Number of hosts, each with an engine of its own
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=16))]
    hosts: u16,
    /// What starts containers; simulated ones exist only in Redis
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t = Engine::Simulated)]
    engine: Engine,
    /// One redis-server, or a master with replicas and sentinels, and a failover under load
    #[arg(long, value_name = "TOPOLOGY", value_enum, default_value_t = Topology::Single)]
    topology: Topology,
    #[command(subcommand)]
    hidden: Option<Hidden>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Topology {
    Single,
    Sentinel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    Simulated,
    Docker,
}

/// What only this program runs.
#[derive(Debug, Subcommand)]
enum Hidden {
    #[command(hide = true)]
    CleanUp(CleanUpArgs),
}

/// Runs it.
pub(in crate::cli) fn run(args: DevArgs) -> ExitCode {
    if let Some(Hidden::CleanUp(args)) = args.hidden {
        return clean_up::run(args);
    }
    let replicas = args.replicas.unwrap_or(REPLICAS.max(args.hosts));
    if replicas < args.hosts {
        output::complain(
            &format!("{} hosts need at least as many replicas, and --replicas says {replicas}", args.hosts),
            "raise --replicas, or lower --hosts",
        );
        return ExitCode::from(exit::USAGE);
    }
    if args.topology == Topology::Sentinel {
        if args.engine == Engine::Docker || args.hosts > 1 {
            output::complain("--topology sentinel is about Redis alone", "leave out --engine and --hosts");
            return ExitCode::from(exit::USAGE);
        }
        return process::block_on(async move { sentinel::dev(replicas).await.unwrap_or_else(|code| code) });
    }
    users_docker::warn_of_ignored_variables();
    let with_docker = args.engine == Engine::Docker;
    process::block_on(async move { dev(replicas, with_docker, args.hosts.into()).await.unwrap_or_else(|code| code) })
}

async fn dev(replicas: u16, with_docker: bool, hosts: usize) -> Result<u8, u8> {
    let mut stops = process::Stops::listen().map_err(|error| failed("cannot listen for signals", &error))?;
    let mut site = Site::open("dev").map_err(|error| say_no_redis(&error))?;
    let mut engines = Engines::bring(&site, with_docker, hosts).await?;
    let url = site.redis().url();
    let mut settings = fleet_settings::pairs([("redis-url", url.as_str()), ("log-format", "json")]);
    settings.extend_from_slice(&engines.settings);
    let options = FleetOptions { program: site.program().to_owned(), directory: site.directory().to_owned(), settings };
    let mut fleet = Fleet::new(options.clone());
    for replica in 0..replicas.into() {
        let own = engines.settings_on(hosts::of_replica(replica, hosts));
        let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        fleet.start(&own).map_err(|error| failed("cannot start a replica", &error))?;
    }
    let code = tokio::select! {
        code = watch(&mut site, &mut fleet, &options, &mut engines) => code,
        _ = stops.next() => exit::DONE,
    };
    output::note(&format!("draining {replicas} replicas; once more Ctrl-C ends them at once"));
    let code = tokio::select! {
        drained = drain(&mut fleet) => if drained { code } else { exit::FAILED },
        code = stops.next() => code,
    };
    drop(fleet);
    if !engines.close().await {
        output::complain(
            "something of the fleet may be left behind on its engines",
            "`docker ps --all` lists its containers, which are named rtm-*",
        );
    }
    site.close().await;
    Ok(code)
}
