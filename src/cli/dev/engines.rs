//! The engines of a fleet on this machine: simulated ones, the user's Docker Engine, or a private one on each host.

use std::path::Path;

use super::hosts;
use super::words::failed;
use crate::cli::users_docker::{self, UsersDocker};
use crate::cli::{exit, fleet_settings, output};
use crate::embedded::docker::DockerAdmin;
use crate::embedded::dockerd::{Dockerd, DockerdError};
use crate::embedded::image;
use crate::embedded::leftovers::{Guard, Leftovers, OnEngine};
use crate::embedded::site::Site;

/// What a fleet's own image is called.
pub(in crate::cli) const ENGINE_IMAGE: &str = concat!("startjobs/demo-engine:", env!("CARGO_PKG_VERSION"));
/// Short, so that what a dead host had in its hands is done elsewhere while the user looks.
pub(super) const HEARTBEAT: &str = "5s";

/// The engines of a fleet.
pub(super) struct Engines {
    /// How many hosts there are.
    pub(super) hosts: usize,
    /// Settings of every replica.
    pub(super) settings: Vec<(String, String)>,
    /// Those that start containers.
    pub(super) docker: Option<Docker>,
}

/// The engines of a fleet that really starts containers.
pub(super) struct Docker {
    /// The image that this program is; none where it cannot be one by itself.
    pub(super) image: Option<String>,
    /// A private engine for each host; none: all replicas share the user's.
    pub(super) own: Vec<Dockerd>,
    /// Removes what is on the user's engine.
    guard: Option<Guard>,
}

impl Engines {
    /// The engines of this many hosts.
    pub(super) async fn bring(site: &Site, with_docker: bool, hosts: usize) -> Result<Self, u8> {
        let mut settings = if hosts > 1 { fleet_settings::pairs([("host-heartbeat", HEARTBEAT)]) } else { Vec::new() };
        let docker = match (with_docker, hosts > 1) {
            (false, _) => {
                settings.extend(fleet_settings::pairs([("engine", "simulated")]));
                None
            }
            (true, false) => Some(bring_users(site, &mut settings).await?),
            (true, true) => Some(start_own(site.program(), hosts, &mut settings).await?),
        };
        Ok(Self { hosts, settings, docker })
    }

    /// Further settings of a replica on this host.
    pub(super) fn settings_on(&self, host: usize) -> Vec<(String, String)> {
        if self.hosts < 2 {
            return Vec::new();
        }
        let own = self.docker.as_ref().and_then(|docker| docker.own.get(host));
        let of_engine = own.map(|dockerd| [("docker-host", dockerd.host()), ("port-range", dockerd.port_range())]);
        let pairs = [("engine-host-id", hosts::name(host))].into_iter().chain(of_engine.into_iter().flatten());
        pairs.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Removes everything from the engines, and the private ones too; false where something stayed behind.
    pub(super) async fn close(self) -> bool {
        let Some(Docker { own, guard, .. }) = self.docker else { return true };
        let closed = futures_util::future::join_all(own.into_iter().map(Dockerd::close)).await;
        let users = match guard {
            Some(guard) => guard.finish().await,
            None => true,
        };
        users && closed.into_iter().all(|is_clean| is_clean)
    }
}

/// Connects to the user's engine, and brings an image that it can start at once if this program can be one.
async fn bring_users(site: &Site, settings: &mut Vec<(String, String)>) -> Result<Docker, u8> {
    let UsersDocker { host: docker_host, tls, settings: of_docker } = users_docker::find().map_err(|report| {
        output::complain(&report.to_string(), "correct these variables of Docker, or unset them");
        exit::CONFIG
    })?;
    let admin = DockerAdmin::connect(&docker_host, tls.as_ref()).await.map_err(|error| {
        let what = format!("no Docker Engine answers at {docker_host}: {error}");
        output::complain(&what, "start it, or say in STARTJOBS_DOCKER_HOST where it is");
        exit::UNAVAILABLE
    })?;
    let program = image::own_program().map_err(|error| failed("cannot read this program", &error))?;
    let image = image::is_static(&program).then(|| ENGINE_IMAGE.to_owned());
    let run = name_of_run();
    let on_engine = OnEngine { docker_host, host_id: run.clone(), image: image.clone() };
    let leftovers = Leftovers { directory: None, engine: Some(on_engine) };
    let guard = site.guard(&leftovers).map_err(|error| failed("cannot start the clean-up", &error))?;
    if let Some(image) = &image {
        import(&admin, image, &program).await?;
    }
    settings.extend(of_docker);
    settings.extend(fleet_settings::pairs([("engine", "docker"), ("engine-host-id", &run), ("fleet-id", &run)]));
    Ok(Docker { image, own: Vec::new(), guard: Some(guard) })
}

/// Starts a private engine for each host, and brings the same image to all of them.
async fn start_own(program: &Path, hosts: usize, settings: &mut Vec<(String, String)>) -> Result<Docker, u8> {
    let mut own = Vec::new();
    for host in 0..hosts {
        own.push(Dockerd::start(program, &hosts::name(host)).map_err(|error| say_no_dockerd(&error))?);
    }
    let bytes = image::own_program().map_err(|error| failed("cannot read this program", &error))?;
    let image = image::is_static(&bytes).then(|| ENGINE_IMAGE.to_owned());
    for dockerd in &mut own {
        let admin = dockerd.await_up().await.map_err(|error| say_no_dockerd(&error))?;
        if let Some(image) = &image {
            import(&admin, image, &bytes).await?;
        }
    }
    settings.extend(fleet_settings::pairs([("engine", "docker"), ("fleet-id", &name_of_run())]));
    Ok(Docker { image, own, guard: None })
}

/// A name that no other run has, so that no other container is ever removed.
fn name_of_run() -> String {
    format!("startjobs-dev-{}", uuid::Uuid::new_v4())
}

async fn import(admin: &DockerAdmin, image: &str, program: &[u8]) -> Result<(), u8> {
    admin.import(image, program).await.map_err(|error| {
        output::complain(
            &format!("the engine does not take the image {image}: {error}"),
            "look at the space on its disk and at its log",
        );
        exit::UNAVAILABLE
    })
}

fn say_no_dockerd(error: &DockerdError) -> u8 {
    output::complain(&error.to_string(), "without --hosts the fleet uses the Docker Engine of this machine");
    match error {
        DockerdError::NeedsRoot | DockerdError::Missing(_) | DockerdError::Bridge(_) | DockerdError::Failed(_) => {
            exit::UNAVAILABLE
        }
        DockerdError::Directory(_) | DockerdError::Io(_) => exit::FAILED,
    }
}
