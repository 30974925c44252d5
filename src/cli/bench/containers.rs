//! `startjobs bench containers`: real containers, started by the worker and by a bare client of the same engine.

use clap::{Args, value_parser};

use super::flags::{Level, PlaceArgs, ReplicaArgs};
use super::outcome::{measured, open, say, show};
use crate::bench::Error;
use crate::bench::measure::containers::options::ContainersOptions;
use crate::bench::measure::containers::rounds::{self, ContainersReport};
use crate::bench::rig::place::{Aof, Pairs, Place};
use crate::cli::exit;
use crate::cli::users_docker::{self, UsersDocker};
use crate::embedded::docker::DockerAdmin;
use crate::embedded::image;
use crate::embedded::leftovers::{Guard, Leftovers, OnEngine};

const EXAMPLES: &str = "Examples:
  startjobs bench containers
  startjobs bench containers --docker-host tcp://10.0.0.2:2375 --image galaxy/engine:1 --starts 24";

const NOTES: &str = "A Docker Engine must answer at --docker-host (or DOCKER_HOST). Without --image this program is imported there as the
image, for which it must be linked statically. All containers are removed.";

/// Start real containers, with the worker and with a bare client of the engine in turn
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = NOTES, mut_arg("slots", |slots| slots.default_value("8")))]
pub(super) struct ContainersArgs {
    /// Where the Docker Engine answers
    #[arg(long, value_name = "URL")]
    docker_host: Option<String>,
    /// An image that is on the engine and serves HTTP on the game engine's port
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Number of containers that each starts in one round
    #[arg(long, value_name = "COUNT", default_value = "48", value_parser = value_parser!(u16).range(1..=1_000))]
    starts: u16,
    /// Number of rounds
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Number of processes
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value_parser!(u16).range(1..=64))]
    replicas: u16,
    #[command(flatten)]
    replica: ReplicaArgs,
    /// What the workers log
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Level::Info)]
    log_level: Level,
    #[command(flatten)]
    place: PlaceArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(args: ContainersArgs) -> Result<u8, u8> {
    let UsersDocker { host: docker_host, tls, settings: docker } = match args.docker_host {
        Some(host) => UsersDocker { host: host.clone(), tls: None, settings: vec![("docker-host".to_owned(), host)] },
        None => users_docker::find().map_err(|report| say(&Error::Settings(report)))?,
    };
    let admin = DockerAdmin::connect(&docker_host, tls.as_ref()).await.map_err(|error| {
        eprintln!("startjobs: no Docker Engine answers at {docker_host}: {error}");
        exit::UNAVAILABLE
    })?;
    let place = open(&args.place, Aof::Everysec)?;
    // Unique, so that no container of another run is ever counted or removed.
    let run = uuid::Uuid::new_v4().simple().to_string();
    let host_id = format!("bench-{}", &run[..12]);
    let own = format!("startjobs.bench/{host_id}:1");
    let image = args.image.unwrap_or_else(|| own.clone());
    let more: Pairs = args.replica.settings(None)?.into_iter().filter(|(name, _)| name != "slots").collect();
    let options = ContainersOptions {
        docker_host: docker_host.clone(),
        docker_tls: tls,
        docker,
        host_id: host_id.clone(),
        image: image.clone(),
        starts: args.starts.into(),
        rounds: args.rounds.into(),
        replicas: args.replicas.into(),
        slots: usize::try_from(args.replica.slots).unwrap_or(usize::MAX),
        more,
        log_level: args.log_level.name(),
    };
    let mut guard: Option<Guard> = None;
    let ran = measured(place, async |place: &mut Place| {
        let brings = image == own;
        let on_engine = OnEngine { docker_host, host_id, image: brings.then(|| own.clone()) };
        guard = Some(place.guard(&Leftovers { directory: None, engine: Some(on_engine) })?);
        if brings {
            bring(&admin, &own).await?;
        }
        rounds::run(place, &options, say_round).await
    })
    .await;
    if let Some(guard) = guard
        && !guard.finish().await
    {
        eprintln!("startjobs: something of the run may be left behind on the engine");
    }
    show(&ran?, args.json, ContainersReport::table);
    Ok(exit::DONE)
}

/// Makes an image of this very program.
async fn bring(admin: &DockerAdmin, name: &str) -> Result<(), Error> {
    let program = image::own_program()?;
    if !image::is_static(&program) {
        let why = "this program is not linked statically, so it cannot be an image by itself: name one with --image, or \
                   build with RUSTFLAGS='-C target-feature=+crt-static' and --target";
        return Err(Error::Subject(why.to_owned()));
    }
    admin
        .import(name, &program)
        .await
        .map_err(|error| Error::Subject(format!("the engine does not take {name}: {error}")))
}

fn say_round(round: usize, subject: &str, starts_per_s: f64) {
    eprintln!("round {}: {subject:<8}{starts_per_s:>8.2} starts/s", round + 1);
}
