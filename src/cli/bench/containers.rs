//! `startjobs bench containers`: real containers, started by the worker and by a bare client of the same engine.

use clap::{ArgMatches, Command, value_parser};

use super::flags::{aof, flag, measured, open, print_json, say, settings, shared};
use crate::bench::Error;
use crate::bench::measure::containers::options::ContainersOptions;
use crate::bench::measure::containers::rounds;
use crate::bench::rig::place::{Aof, Pairs, Place};
use crate::cli::common::UsersDocker;
use crate::cli::{common, exit};
use crate::embedded::docker::DockerAdmin;
use crate::embedded::image;
use crate::embedded::leftovers::{Guard, Leftovers, OnEngine};

/// The command and its flags.
pub(super) fn command() -> Command {
    Command::new("containers")
        .about("Start real containers, with the worker and with a bare client of the engine in turn")
        .after_help(
            "An engine must answer at --docker-host (or DOCKER_HOST). Without --image this program is brought there as the\n\
             image, for which it must be linked statically. All containers are removed.",
        )
        .args(shared("1", "0ms", "info").into_iter().filter(|arg| {
            !["subject", "engine-latency"].contains(&arg.get_id().as_str())
        }))
        .mut_arg("slots", |slots| slots.default_value("8"))
        .arg(flag("docker-host", "URL", "Where the Docker Engine answers"))
        .arg(flag("image", "IMAGE", "An image that is on the engine and serves HTTP on the game engine's port"))
        .arg(
            flag("starts", "COUNT", "Containers of one round of each")
                .default_value("48")
                .value_parser(value_parser!(u16).range(1..=1_000)),
        )
        .arg(
            flag("rounds", "COUNT", "Rounds")
                .default_value("5")
                .value_parser(value_parser!(u16).range(1..=100)),
        )
}

/// Runs the command.
pub(super) async fn run(matches: &ArgMatches) -> Result<u8, u8> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let number = |name: &str| matches.get_one::<u16>(name).copied().map_or(1, usize::from);
    let UsersDocker { host: docker_host, tls, settings: docker } = match text("docker-host") {
        Some(host) => UsersDocker { host: host.clone(), tls: None, settings: vec![("docker-host".to_owned(), host)] },
        None => common::docker().map_err(|report| say(&Error::Settings(report)))?,
    };
    let admin = DockerAdmin::connect(&docker_host, tls.as_ref()).await.map_err(|error| {
        eprintln!("startjobs: no Docker Engine answers at {docker_host}: {error}");
        exit::UNAVAILABLE
    })?;
    let place = open(matches, aof(matches, Aof::Everysec))?;
    // Unique, so that nobody else's container is ever counted or removed.
    let run = uuid::Uuid::new_v4().simple().to_string();
    let host_id = format!("bench-{}", &run[..12]);
    let own = format!("startjobs.bench/{host_id}:1");
    let image = text("image").unwrap_or_else(|| own.clone());
    let more: Pairs = settings(matches)?.into_iter().filter(|(name, _)| name != "slots").collect();
    let options = ContainersOptions {
        docker_host: docker_host.clone(),
        docker_tls: tls,
        docker,
        host_id: host_id.clone(),
        image: image.clone(),
        starts: number("starts"),
        rounds: number("rounds"),
        replicas: number("replicas"),
        slots: matches.get_one::<u32>("slots").map_or(8, |&slots| usize::try_from(slots).unwrap_or(8)),
        more,
        log_level: text("log-level").unwrap_or_default(),
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
    let report = ran?;
    if matches.get_flag("json") {
        print_json(&report);
    } else {
        common::print(&report.table());
    }
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
