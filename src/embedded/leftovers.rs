//! What is removed when this process ends, however it ends.
//!
//! Child processes end with their parent by themselves, but directories, containers and images stay when the parent
//! is killed. So a second process of this program waits for the parent's end and then takes them away: it holds the
//! reading end of a pipe into which nothing is ever written, and the kernel closes the other end with the parent.

use std::fs::Permissions;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::docker::DockerAdmin;
use super::engine_remains::EngineRemains;
use crate::tls::Tls;

/// Directories of other names are never removed.
const DIRECTORY_PREFIX: &str = "startjobs-";
const LOOK_INTERVAL: Duration = Duration::from_millis(300);
/// How long processes that have just been killed may continue to write into a directory.
const DIRECTORY_PATIENCE: Duration = Duration::from_secs(10);
const CONTAINERS_PATIENCE: Duration = Duration::from_secs(60);

/// A new directory of ours below `parent` that no other user can look into.
pub(crate) fn directory_of_ours(parent: &Path, name: &str) -> io::Result<TempDir> {
    let prefix = format!("{DIRECTORY_PREFIX}{name}-");
    tempfile::Builder::new().prefix(&prefix).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)
}

/// What to remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// A directory of ours.
    pub(crate) directory: Option<PathBuf>,
    /// What is on an engine.
    pub(crate) engine: Option<OnEngine>,
}

impl Leftovers {
    /// The command line that leads to [`remove_after_parent`] with these.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["dev".to_owned(), "clean-up".to_owned()];
        let mut add = |name: &str, value: &str| arguments.extend([format!("--{name}"), value.to_owned()]);
        if let Some(directory) = &self.directory {
            add("directory", &directory.to_string_lossy());
        }
        if let Some(engine) = &self.engine {
            add("docker-host", &engine.docker_host);
            add("host-id", &engine.host_id);
            if let Some(image) = &engine.image {
                add("image", image);
            }
        }
        arguments
    }
}

/// What is on a Docker Engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnEngine {
    /// Where the engine answers.
    pub(crate) docker_host: String,
    /// The `engine-host-id` that every container of this run carries as a label, and no other; also its `fleet-id`.
    pub(crate) host_id: String,
    /// The image that this run brought.
    pub(crate) image: Option<String>,
}

/// The process that waits for our end. Dropping it is such an end.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
}

impl Guard {
    /// Starts `program` with [`Leftovers::arguments`].
    pub(crate) fn start(program: &Path, arguments: &[String]) -> io::Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // What ends the parent's process group must not end this.
            .process_group(0)
            .spawn()?;
        Ok(Self { child })
    }

    /// Lets it do its work now, and waits; false where something stayed behind (it has said what).
    pub(crate) async fn finish(mut self) -> bool {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + DIRECTORY_PATIENCE + 2 * CONTAINERS_PATIENCE;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(_) => return false,
            }
        }
        false
    }
}

/// Waits until the parent ends or lets go, then removes; `tls` is of the engine. Answers what stayed behind.
pub(crate) async fn remove_after_parent(leftovers: &Leftovers, tls: Option<&Tls>) -> Result<(), String> {
    await_parents_end();
    let engine = match &leftovers.engine {
        Some(engine) => remove_from(engine, tls).await,
        None => Ok(()),
    };
    let directory = match &leftovers.directory {
        Some(directory) => remove_directory(directory).await,
        None => Ok(()),
    };
    engine.and(directory)
}

/// The same for a private engine and its directory.
pub(crate) async fn remove_engine_after_parent(remains: &EngineRemains) -> Result<(), String> {
    await_parents_end();
    let removed = remains.remove().await;
    let mut directory = remove_directory(&remains.directory).await;
    // A process that the kernel has not ended yet may have written there once more.
    tokio::time::sleep(LOOK_INTERVAL).await;
    if directory.is_ok() {
        directory = remove_directory(&remains.directory).await;
    }
    removed.and(directory)
}

fn await_parents_end() {
    // Nothing is ever written: this returns when the other end is closed.
    drop(io::stdin().read_to_end(&mut Vec::new()));
}

async fn remove_from(engine: &OnEngine, tls: Option<&Tls>) -> Result<(), String> {
    let said = |error: String| format!("containers of {} may be left over: {error}", engine.host_id);
    let docker = DockerAdmin::connect(&engine.docker_host, tls).await.map_err(said)?;
    let deadline = Instant::now() + CONTAINERS_PATIENCE;
    // A create in progress when its process was killed may still produce a container: look twice.
    let mut empty_looks = 0;
    while empty_looks < 2 {
        if Instant::now() > deadline {
            return Err(said("they do not go away".to_owned()));
        }
        let ids = docker.containers_of(&engine.host_id).await.map_err(said)?;
        let removals = ids.iter().map(|id| docker.remove_container(id));
        // One that could not be removed is listed again.
        drop(futures_util::future::join_all(removals).await);
        empty_looks = if ids.is_empty() { empty_looks + 1 } else { 0 };
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    let fleet = docker.remove_fleet_mark(&engine.host_id).await;
    fleet.map_err(|error| format!("the volume of fleet {} is left over: {error}", engine.host_id))?;
    if let Some(image) = &engine.image {
        docker.remove_image(image).await.map_err(|error| format!("image {image} is left over: {error}"))?;
    }
    Ok(())
}

async fn remove_directory(directory: &Path) -> Result<(), String> {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    if !name.starts_with(DIRECTORY_PREFIX) {
        return Err(format!("{} is not a directory of this program", directory.display()));
    }
    let deadline = Instant::now() + DIRECTORY_PATIENCE;
    loop {
        match std::fs::remove_dir_all(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !directory.exists() => {
                return Ok(());
            }
            Err(error) if Instant::now() > deadline => {
                return Err(format!("{} is left behind: {error}", directory.display()));
            }
            Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_directories_of_ours_are_removed() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        for (name, removed) in [("startjobs-x", true), ("home", false)] {
            let directory = parent.path().join(name);
            std::fs::create_dir(&directory).expect("a directory");
            std::fs::write(directory.join("file"), "x").expect("a file");
            assert_eq!(remove_directory(&directory).await.is_ok(), removed, "{name}");
            assert_eq!(directory.exists(), !removed, "{name}");
        }
        let gone = parent.path().join("startjobs-gone");
        assert_eq!(remove_directory(&gone).await, Ok(()));
    }
}
