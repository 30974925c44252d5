//! `startjobs dev`: a whole fleet on this machine, to try things on, until Ctrl-C.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use tokio::time::{Instant, sleep};

use super::users_docker::{self, UsersDocker};
use super::{exit, fleet_settings, output, process};
use crate::embedded::docker::DockerAdmin;
use crate::embedded::fleet::{Fleet, FleetOptions};
use crate::embedded::image;
use crate::embedded::leftovers::{self, Guard, Leftovers, OnEngine};
use crate::embedded::redis_server::StartError;
use crate::embedded::site::Site;
use crate::lobby::client::Lobby;

const EXAMPLES: &str = "Examples:
  startjobs dev
  startjobs dev --replicas 5
  startjobs dev --engine docker";

const NOTES: &str = "Exit codes: 0 stopped by Ctrl-C and drained; 1 failed; 2 usage; 69 redis-server or the Docker Engine is unavailable; 78
a setting is wrong.";

/// What a fleet's own image is called.
pub(super) const ENGINE_IMAGE: &str = concat!("startjobs/demo-engine:", env!("CARGO_PKG_VERSION"));
/// How long the replicas may take to show themselves before the banner is printed without them.
const UP_WITHIN: Duration = Duration::from_secs(10);
/// More than `drain-timeout`, after which a replica ends by itself.
const DRAINED_WITHIN: Duration = Duration::from_secs(40);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Run a whole fleet on this machine, until Ctrl-C
///
/// It consists of a private redis-server, which only your own user can reach, and replicas of this program. Everything
/// is in a temporary directory, which is removed at the end, even if this process is killed.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(super) struct DevArgs {
    /// Number of replicas
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=64))]
    replicas: u16,
    /// What starts containers; simulated ones exist only in Redis
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t = Engine::Simulated)]
    engine: Engine,
    #[command(subcommand)]
    hidden: Option<Hidden>,
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

/// Wait for the end of stdin, then remove what a fleet on this machine left behind
///
/// [`Guard`] runs it.
#[derive(Debug, Args)]
struct CleanUpArgs {
    #[arg(long)]
    directory: Option<PathBuf>,
    #[arg(long)]
    docker_host: Option<String>,
    #[arg(long)]
    host_id: Option<String>,
    #[arg(long)]
    image: Option<String>,
}

/// Runs it.
pub(super) fn run(args: DevArgs) -> ExitCode {
    if let Some(Hidden::CleanUp(args)) = args.hidden {
        return clean_up(args);
    }
    users_docker::warn_of_ignored_variables();
    process::block_on(
        async move { dev(args.replicas, args.engine == Engine::Docker).await.unwrap_or_else(|code| code) },
    )
}

impl CleanUpArgs {
    fn leftovers(self) -> Leftovers {
        let Self { directory, docker_host, host_id, image } = self;
        let engine = docker_host.zip(host_id);
        Leftovers { directory, engine: engine.map(|(docker_host, host_id)| OnEngine { docker_host, host_id, image }) }
    }
}

fn clean_up(args: CleanUpArgs) -> ExitCode {
    let leftovers = args.leftovers();
    // The files are where the parent found them: in the environment.
    let tls = users_docker::find().ok().and_then(|docker| docker.tls);
    process::block_on(async move {
        match leftovers::remove_after_parent(&leftovers, tls.as_ref()).await {
            Ok(()) => exit::DONE,
            Err(text) => {
                eprintln!("startjobs: {text}");
                exit::FAILED
            }
        }
    })
}

/// Says why there is no redis-server; answers the exit code.
pub(super) fn say_no_redis(error: &StartError) -> u8 {
    eprintln!("startjobs: {error}");
    match error {
        StartError::Missing(_) | StartError::Failed(_) => exit::UNAVAILABLE,
        StartError::Directory(_) | StartError::Io(_) => exit::FAILED,
    }
}

/// The engine of a fleet that really starts containers.
struct Docker {
    settings: Vec<(String, String)>,
    /// None where this program cannot be an image by itself.
    image: Option<String>,
    guard: Guard,
}

async fn dev(replicas: u16, docker: bool) -> Result<u8, u8> {
    let mut stops = process::Stops::listen().map_err(|error| failed("cannot listen for signals", &error))?;
    let mut site = Site::open("dev").map_err(|error| say_no_redis(&error))?;
    let docker = if docker { Some(bring_docker(&site).await?) } else { None };
    let url = site.redis().url();
    let mut settings =
        fleet_settings::pairs([("redis-url", url.as_str()), ("log-format", "json"), ("engine", "simulated")]);
    settings.extend(docker.iter().flat_map(|docker| docker.settings.clone()));
    let options = FleetOptions { program: site.program().to_owned(), directory: site.directory().to_owned(), settings };
    let mut fleet = Fleet::new(options.clone());
    for _ in 0..replicas {
        fleet.start(&[]).map_err(|error| failed("cannot start a replica", &error))?;
    }
    let code = tokio::select! {
        code = watch(&mut site, &mut fleet, &options, docker.as_ref()) => code,
        _ = stops.next() => exit::DONE,
    };
    eprintln!("startjobs: draining {replicas} replicas; once more Ctrl-C ends them at once");
    let code = tokio::select! {
        drained = drain(&mut fleet) => if drained { code } else { exit::FAILED },
        code = stops.next() => code,
    };
    drop(fleet);
    if let Some(docker) = docker {
        docker.guard.finish().await;
    }
    site.close().await;
    Ok(code)
}

fn failed(what: &str, error: &std::io::Error) -> u8 {
    eprintln!("startjobs: {what}: {error}");
    exit::FAILED
}

/// Connects to the engine, and brings an image that it can start at once if this program can be one.
async fn bring_docker(site: &Site) -> Result<Docker, u8> {
    let UsersDocker { host: docker_host, tls, mut settings } = users_docker::find().map_err(|report| {
        eprintln!("{report}");
        exit::CONFIG
    })?;
    let admin = DockerAdmin::connect(&docker_host, tls.as_ref()).await.map_err(|error| {
        eprintln!("startjobs: no Docker Engine answers at {docker_host}: {error}");
        exit::UNAVAILABLE
    })?;
    let program = image::own_program().map_err(|error| failed("cannot read this program", &error))?;
    let image = image::is_static(&program).then(|| ENGINE_IMAGE.to_owned());
    // A label of this run's own, so that no other container is ever removed.
    let host_id = format!("startjobs-dev-{}", uuid::Uuid::new_v4());
    let on_engine = OnEngine { docker_host, host_id: host_id.clone(), image: image.clone() };
    let leftovers = Leftovers { directory: None, engine: Some(on_engine) };
    let guard = site.guard(&leftovers).map_err(|error| failed("cannot start the clean-up", &error))?;
    if let Some(image) = &image {
        admin.import(image, &program).await.map_err(|error| {
            eprintln!("startjobs: the engine does not take the image {image}: {error}");
            exit::UNAVAILABLE
        })?;
    }
    settings.extend(fleet_settings::pairs([("engine", "docker"), ("engine-host-id", host_id.as_str())]));
    Ok(Docker { settings, image, guard })
}

/// Prints the banner, then says who dies. Returns only when Redis has ended.
async fn watch(site: &mut Site, fleet: &mut Fleet, options: &FleetOptions, docker: Option<&Docker>) -> u8 {
    await_up(fleet, options).await;
    output::print(&banner(site, fleet, docker));
    let (mut dead, url) = (HashSet::new(), site.redis().url());
    loop {
        let mut living = 0;
        for (number, replica) in fleet.replicas().enumerate() {
            let process = replica.process();
            match process.ended() {
                None => living += 1,
                Some(status) if dead.insert(number) => say_death(number, process.id(), status, &url),
                Some(_) => {}
            }
        }
        if living == 0 && dead.insert(usize::MAX) {
            eprintln!("startjobs: no replica is left; jobs wait in Redis until Ctrl-C ends everything");
        }
        if site.redis().has_ended() {
            eprintln!("startjobs: redis-server has ended by itself");
            return exit::UNAVAILABLE;
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// And which commands tell the rest, ready to be pasted where nothing is set.
fn say_death(number: usize, pid: u32, status: ExitStatus, url: &str) {
    let program = process::program_as_typed();
    eprintln!(
        "startjobs: replica {number} (pid {pid}) has ended ({status}) and is not started again; the others take over what it held\n  \
         export STARTJOBS_REDIS_URL={url}\n  \
         {program} replicas        it is lost once claim-idle (5s) has passed\n  \
         {program} alerts          which alert that raises, and its runbook\n  \
         {program} pending         what is in whose hands\n  \
         {program} inspect JOB     what became of a job: its entry id or its game"
    );
}

/// Waits until every living replica has shown itself in Redis.
async fn await_up(fleet: &mut Fleet, options: &FleetOptions) {
    let deadline = Instant::now() + UP_WITHIN;
    let Ok(settings) = fleet_settings::settings_of(&options.settings) else {
        return;
    };
    let Ok(lobby) = Lobby::connect_within(&settings.redis, &settings.stream, UP_WITHIN).await else {
        return;
    };
    while Instant::now() < deadline {
        let living = fleet.replicas().filter_map(|replica| replica.process().ended()).count();
        let present = lobby.replicas().await.unwrap_or_default().len();
        if present + living >= fleet.replicas().count() {
            return;
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn banner(site: &mut Site, fleet: &mut Fleet, docker: Option<&Docker>) -> String {
    let (program, url, cli) = (process::program_as_typed(), site.redis().url(), site.redis().cli_words());
    let pids: Vec<String> = fleet.replicas().map(|replica| replica.process().id().to_string()).collect();
    let engine = match docker {
        None => "simulated: no container is started",
        Some(_) => "docker: containers are removed at the end",
    };
    let image = match docker.map(|docker| docker.image.as_deref()) {
        None => "galaxy/engine:1",
        Some(Some(image)) => image,
        Some(None) => "IMAGE_THAT_LISTENS_ON_8080",
    };
    let logs = site.directory().join("replica-*.log");
    let facts = output::aligned(&[
        ("  redis", url.as_str()),
        ("  engine", engine),
        ("  logs", &logs.to_string_lossy()),
        ("  pids", &pids.join(" ")),
    ]);
    let first = pids.first().map_or("", String::as_str);
    let send = format!("{program} send --image {image} --wait --game");
    format!(
        "{} replicas are running.\n{facts}\nTry, in another terminal:\n  export STARTJOBS_REDIS_URL={url}\n  {send} g1\n  \
         kill -9 {first}; {send} g2\n  {program} status; {program} alerts; {program} inspect g2\n  \
         redis-cli {cli} XLEN runtime:job_results\n\nCtrl-C stops and removes everything.\n",
        pids.len()
    )
}

/// True where every replica that still lived ended by itself in time.
async fn drain(fleet: &mut Fleet) -> bool {
    let living: Vec<bool> = fleet.replicas().map(|replica| replica.process().ended().is_none()).collect();
    let ends = fleet.stop(DRAINED_WITHIN).await;
    living.iter().zip(ends).all(|(lived, end)| !lived || end.is_some_and(|status| status.success()))
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    #[test]
    fn the_guards_command_line_says_what_it_was_made_from() {
        let engine = |image: Option<&str>| OnEngine {
            docker_host: "unix:///s".into(),
            host_id: "startjobs-dev-1".into(),
            image: image.map(str::to_owned),
        };
        let directory = Some(PathBuf::from("/tmp/startjobs-dev-x"));
        for leftovers in [
            Leftovers { directory: directory.clone(), engine: None },
            Leftovers { directory: None, engine: Some(engine(None)) },
            Leftovers { directory, engine: Some(engine(Some(ENGINE_IMAGE))) },
        ] {
            let words = leftovers.arguments().into_iter().skip(1);
            let words = ["dev".to_owned()].into_iter().chain(words);
            let command = DevArgs::augment_args(Command::new("dev"));
            let matches = command.try_get_matches_from(words).expect("it is understood");
            let args = DevArgs::from_arg_matches(&matches).expect("every flag has its field");
            let Some(Hidden::CleanUp(args)) = args.hidden else { panic!("it is the hidden command") };
            assert_eq!(args.leftovers(), leftovers);
        }
    }
}
