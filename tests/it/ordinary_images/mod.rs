//! A fleet without a policy runs ordinary images unchanged: servers of Debian's packages, some of which start as root, take
//! what is root's and become another user.

// ten images
mod list;
// what they are put together from
mod rootfs;

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use startjobs::engine::docker::DockerEngine;
use startjobs::engine::{ContainerSpec, ContainerState, Engine, Sandbox};

use self::list::{LIST, Ordinary};
use self::rootfs::Rootfs;
use crate::docker_engine::{create_and_start, spec};
use crate::support::dockerd::{Dockerd, leave_out};
use crate::support::world::World;

/// For a server to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Fleets beside each other.
const AT_ONCE: usize = 3;
/// An answer is no longer than this.
const ANSWER_MAX: usize = 4096;

/// The part of Python's library that a web server needs; all of it would be a third of the time of the test.
fn python_library(rootfs: &Rootfs) -> Result<(), &'static str> {
    let path = ["/usr/lib/python3.11", "/usr/lib/python3.13", "/usr/lib/python3.12"];
    let path = path.into_iter().find(|path| Path::new(path).is_dir()).ok_or("the library of python3")?;
    rootfs.tree(path).map(drop)
}

impl Ordinary {
    fn image(&self) -> String {
        format!("startjobs.test/{}:1", self.name)
    }

    /// Whether the engine has its image now.
    fn import(&self, dockerd: &Dockerd) -> bool {
        let rootfs = Rootfs::new();
        match (self.make)(&rootfs) {
            Ok(()) => dockerd.import(&self.image(), &rootfs.archive(), self.changes),
            Err(what) => {
                leave_out(&format!(
                    "the image {}: {what} is not on this machine (package {})",
                    self.name, self.package
                ));
                return false;
            }
        }
        true
    }

    async fn start(&self, dockerd: &Dockerd, name: &str, sandbox: Sandbox) -> (DockerEngine, String) {
        let engine = DockerEngine::connect_with(dockerd.options(self.port, 4)).expect("a good URL");
        let with = ContainerSpec { image: self.image(), port: self.port, sandbox, ..spec(name, &[]) };
        let id = create_and_start(&engine, &with).await.expect("the image has an entry point");
        (engine, id)
    }

    /// Has it started by a job of a fleet without a policy, and waits for its server's answer; why there was none.
    async fn runs(&self, dockerd: &Dockerd) -> Option<String> {
        let port = self.port.to_string();
        // Each fleet has a Redis of its own. They share the engine under names of their own.
        let settings = [("engine", "docker"), ("fleet-id", self.name), ("engine-port", &port), ("claim-idle", "5s")];
        let mut world = World::with(&[&settings[..], &dockerd.settings()].concat()).await;
        world.replica(&[]);
        let job = world.send(self.name, &self.image()).await;
        world.settled().await;
        let outcome = world.outcome(job).await;
        if outcome.get("outcome") != "success" {
            return Some(format!("{}: {outcome:?}", self.name));
        }
        let patience = Instant::now() + PATIENCE;
        loop {
            let answer = answer_of(outcome.get("engine_endpoint"), self.asks).await.unwrap_or_default();
            if answer.windows(self.answers.len()).any(|part| part == self.answers) {
                return None;
            }
            if Instant::now() > patience {
                let answer = String::from_utf8_lossy(&answer);
                return Some(format!("{}: it answers {answer:?}\n{}", self.name, world.logs()));
            }
            sleep(POLL).await;
        }
    }

    /// Starts it without any capability, and waits until it has ended; why it has not.
    async fn fails_without_capabilities(&self, dockerd: &Dockerd) -> Option<String> {
        let bare = Sandbox { capabilities: Vec::new(), ..Sandbox::default() };
        let (engine, id) = self.start(dockerd, &format!("rtm-bare-{}", self.name), bare).await;
        let patience = Instant::now() + PATIENCE;
        loop {
            let container = engine.find(&id).await.expect("the engine answers").expect("it exists");
            match container.state {
                ContainerState::Exited(code) if code != 0 => return None,
                state if Instant::now() > patience || state != ContainerState::Running => {
                    return Some(format!("{}: {state:?}: {}", self.name, engine.log_tail(&id).await));
                }
                _ => sleep(POLL).await,
            }
        }
    }
}

/// What the server at this endpoint answers, as far as it comes at once.
async fn answer_of(endpoint: &str, asks: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(endpoint.strip_prefix("http://")?).await.ok()?;
    stream.write_all(asks).await.ok()?;
    let mut answer = Vec::new();
    let mut bytes = [0; ANSWER_MAX];
    while answer.len() < ANSWER_MAX {
        match timeout(Duration::from_millis(500), stream.read(&mut bytes)).await {
            Ok(Ok(count)) if count > 0 => answer.extend_from_slice(&bytes[..count]),
            _ => break,
        }
    }
    Some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_ordinary_images_run_without_a_policy() {
    let Some(dockerd) = Dockerd::start() else { return };
    let present: Vec<Ordinary> = LIST.into_iter().filter(|image| image.import(&dockerd)).collect();
    let run = futures_util::stream::iter(&present).map(|image| image.runs(&dockerd)).buffer_unordered(AT_ONCE);
    let failed: Vec<String> = run.filter_map(std::future::ready).collect().await;
    assert!(failed.is_empty(), "{failed:#?}");
    // The test can fail: without the capabilities those that need them end.
    let need = present.iter().filter(|image| image.needs_capabilities);
    let run = join_all(need.map(|image| image.fails_without_capabilities(&dockerd))).await;
    let run: Vec<String> = run.into_iter().flatten().collect();
    assert!(run.is_empty(), "{run:#?}");
}
