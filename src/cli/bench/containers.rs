//! `startjobs bench containers`: real containers, started by the worker and by a bare client of the same engine.

use std::path::Path;

use clap::{Args, value_parser};

use super::flags::{Level, PlaceArgs, ReplicaArgs};
use super::outcome::{measured, open, say, show};
use crate::bench::Error;
use crate::bench::measure::containers::options::{ContainersOptions, HostOptions};
use crate::bench::measure::containers::rounds::{self, ContainersReport};
use crate::bench::rig::place::{Aof, Pairs, Place};
use crate::cli::exit;
use crate::cli::users_docker::{self, UsersDocker};
use crate::embedded::docker::DockerAdmin;
use crate::embedded::dockerd::{Dockerd, DockerdError};
use crate::embedded::image;
use crate::embedded::leftovers::{Guard, Leftovers, OnEngine};

const EXAMPLES: &str = "Examples:
  startjobs bench containers
  startjobs bench containers --docker-host tcp://10.0.0.2:2375 --image galaxy/engine:1 --starts 24
  sudo startjobs bench containers --hosts 3";

const NOTES: &str = "A Docker Engine must answer at --docker-host (or DOCKER_HOST). Without --image this program is imported there as the
image, for which it must be linked statically. All containers are removed.

With --hosts each host has a private dockerd, for which dockerd and root are needed, and replicas of its own. The same is
measured on one of the hosts in the same rounds. --image is copied to them from the engine at --docker-host; without it
that engine is not used.";

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
    /// Number of hosts, each with a private engine if there are several
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value_parser!(u16).range(1..=16))]
    hosts: u16,
    /// Number of processes on each host
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
    // Unique, so that no container of another run is ever counted or removed.
    let run = format!("bench-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let users = if args.hosts == 1 || args.image.is_some() { Some(find_users(&args).await?) } else { None };
    let place = open(&args.place, Aof::Everysec)?;
    let own = format!("startjobs.bench/{run}:1");
    let more: Pairs = args.replica.settings(None)?.into_iter().filter(|(name, _)| name != "slots").collect();
    let mut options = ContainersOptions {
        hosts: Vec::new(),
        run,
        image: args.image.clone().unwrap_or_else(|| own.clone()),
        starts: args.starts.into(),
        rounds: args.rounds.into(),
        replicas: args.replicas.into(),
        slots: usize::try_from(args.replica.slots).unwrap_or(usize::MAX),
        more,
        log_level: args.log_level.name(),
    };
    let mut engines = Engines::default();
    let ran = measured(place, async |place: &mut Place| {
        let brings = args.image.is_none();
        options.hosts = match users {
            Some((users, admin)) if args.hosts == 1 => {
                let host_id = options.run.clone();
                let host = HostOptions {
                    docker_host: users.host,
                    docker_tls: users.tls,
                    docker: users.settings,
                    ports: None,
                    host_id,
                };
                let on_engine = OnEngine {
                    docker_host: host.docker_host.clone(),
                    host_id: host.host_id.clone(),
                    image: brings.then(|| own.clone()),
                };
                engines.guard = Some(place.guard(&Leftovers { directory: None, engine: Some(on_engine) })?);
                if brings {
                    bring(&admin, &own).await?;
                }
                vec![host]
            }
            users => {
                let source = users.map(|(_, admin)| admin);
                engines.start(place.program(), args.hosts, &options.run, &options.image, source.as_ref()).await?
            }
        };
        rounds::run(place, &options, say_round).await
    })
    .await;
    if !engines.close().await {
        eprintln!("startjobs: something of the run may be left behind on the engine");
    }
    show(&ran?, args.json, ContainersReport::table);
    Ok(exit::DONE)
}

/// The engine that the user has.
async fn find_users(args: &ContainersArgs) -> Result<(UsersDocker, DockerAdmin), u8> {
    let users = match &args.docker_host {
        Some(host) => {
            UsersDocker { host: host.clone(), tls: None, settings: vec![("docker-host".to_owned(), host.clone())] }
        }
        None => users_docker::find().map_err(|report| say(&Error::Settings(report)))?,
    };
    let admin = DockerAdmin::connect(&users.host, users.tls.as_ref()).await.map_err(|error| {
        eprintln!("startjobs: no Docker Engine answers at {}: {error}", users.host);
        exit::UNAVAILABLE
    })?;
    Ok((users, admin))
}

/// What has to be removed from engines, and engines that have to be removed.
#[derive(Debug, Default)]
struct Engines {
    /// Of the user's.
    guard: Option<Guard>,
    /// Private ones.
    own: Vec<Dockerd>,
}

impl Engines {
    /// Starts private engines that have the image: from `source`, or made of this program.
    async fn start(
        &mut self,
        program: &Path,
        count: u16,
        run: &str,
        image: &str,
        source: Option<&DockerAdmin>,
    ) -> Result<Vec<HostOptions>, Error> {
        let refused = |error: DockerdError| Error::Subject(error.to_string());
        for number in 1..=count {
            self.own.push(Dockerd::start(program, &format!("host-{number}")).map_err(refused)?);
        }
        let mut hosts = Vec::new();
        for (number, dockerd) in self.own.iter_mut().enumerate() {
            let admin = dockerd.await_up().await.map_err(refused)?;
            match source {
                Some(source) => source.copy_image(image, &admin).await.map_err(|error| {
                    Error::Subject(format!("{image} cannot be copied to a private engine: {error}"))
                })?,
                None => bring(&admin, image).await?,
            }
            let (docker_host, ports) = (dockerd.host(), dockerd.port_range());
            hosts.push(HostOptions {
                docker: [("docker-host", docker_host.clone()), ("port-range", ports.clone())]
                    .map(|(name, value)| (name.to_owned(), value))
                    .into(),
                docker_host,
                docker_tls: None,
                ports: Some(ports),
                host_id: format!("{run}-{}", number + 1),
            });
        }
        Ok(hosts)
    }

    /// False where something stayed behind.
    async fn close(self) -> bool {
        let closed = futures_util::future::join_all(self.own.into_iter().map(Dockerd::close)).await;
        let users = match self.guard {
            Some(guard) => guard.finish().await,
            None => true,
        };
        users && closed.into_iter().all(|is_clean| is_clean)
    }
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
    eprintln!("round {}: {subject:<16}{starts_per_s:>8.2} starts/s", round + 1);
}
