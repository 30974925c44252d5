//! A Docker Engine of one's own: its socket, images, containers and bridge are private, and go with it. It needs root.
//!
//! Ports are published by docker-proxy on loopback, without rules of iptables, so that several engines leave each other and
//! the machine's own alone.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::docker::DockerAdmin;
use super::engine_remains::{EngineRemains, remove_bridge, run};
use super::leftovers::{Guard, directory_of_ours};
use super::process::Process;

/// The first part of each bridge's name.
const BRIDGE_PREFIX: &str = "sjh";
/// Engines of this program that one machine may have.
const ENGINES_MAX: u16 = 32;
/// The ports of all of them, below those that the system and other engines give out. An engine that publishes at its own choice
/// takes the ports from its first one on, tries ten, and then fails if another engine on the same address has those.
const FIRST_PORT: u16 = 20_000;
/// The ports of one engine.
const PORTS: u16 = 390;
/// The longest path of a socket that the kernel takes, without its closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// containerd adds the most to the path of the directory.
const LONGEST_SOCKET: &str = "exec/containerd/containerd.sock.ttrpc";
const UP_WITHIN: Duration = Duration::from_secs(30);
/// How long the engine may take to stop its containers, and itself.
const STOPS_WITHIN: Duration = Duration::from_secs(15);
/// How long it gives its containers, in seconds.
const CONTAINERS_STOP_WITHIN: &str = "3";
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A running engine. Dropping it kills it, and its guard removes what it had.
#[derive(Debug)]
pub(crate) struct Dockerd {
    process: Process,
    remains: EngineRemains,
    ports: (u16, u16),
    guard: Guard,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DockerdError {
    /// Networks and containers are the privilege of root.
    #[error("a private Docker Engine needs root")]
    NeedsRoot,
    /// A program is missing.
    #[error("cannot run {0}: install the package that brings it (Debian: docker.io, iproute2)")]
    Missing(&'static str),
    /// No socket can be made there.
    #[error("the path {0} is too long for the sockets of an engine; set TMPDIR to a shorter directory")]
    Directory(PathBuf),
    /// The machine refused something.
    #[error("cannot prepare a Docker Engine: {0}")]
    Io(#[from] io::Error),
    /// No bridge can be made.
    #[error("cannot make a bridge for a Docker Engine: {0}")]
    Bridge(String),
    /// It did not come up; what it said.
    #[error("dockerd did not come up: {0}")]
    Failed(String),
}

impl Dockerd {
    /// Starts one, which has no images. `program` is this program, which guards it; `name` becomes part of its directory's
    /// name.
    pub(crate) fn start(program: &Path, name: &str) -> Result<Self, DockerdError> {
        if !rustix::process::geteuid().is_root() {
            return Err(DockerdError::NeedsRoot);
        }
        for needed in ["dockerd", "ip"] {
            if !is_on_path(needed) {
                return Err(DockerdError::Missing(needed));
            }
        }
        let directory = directory_of_ours(&std::env::temp_dir(), name)?;
        if directory.path().join(LONGEST_SOCKET).as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
            return Err(DockerdError::Directory(directory.path().to_owned()));
        }
        let number = claim_bridge().map_err(DockerdError::Bridge)?;
        let bridge = bridge_name(number);
        let remains = EngineRemains { directory: directory.path().to_owned(), bridge };
        let guard = Guard::start(program, &remains.arguments()).inspect_err(|_| {
            // Then only this process is there to remove it; the error that is told is the first one.
            remove_bridge(&remains.bridge).ok();
        })?;
        // From here on it is the guard's: what an engine keeps there can be removed only after the engine's end.
        _ = directory.keep();
        let log = remains.directory.join("log");
        let (arguments, environment) = (arguments(&remains), environment(&remains));
        let process = Process::start_stopped_with_parent(Path::new("dockerd"), &arguments, &environment, &log)?;
        let first = FIRST_PORT + number * PORTS;
        Ok(Self { process, remains, ports: (first, first + PORTS - 1), guard })
    }

    /// Waits until it answers.
    pub(crate) async fn await_up(&mut self) -> Result<DockerAdmin, DockerdError> {
        let deadline = Instant::now() + UP_WITHIN;
        while Instant::now() < deadline && self.process.ended().is_none() {
            // Before there is a socket it is of no use to ask.
            if self.socket().exists()
                && let Ok(admin) = DockerAdmin::connect(&self.host(), None).await
            {
                return Ok(admin);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let log = std::fs::read_to_string(self.remains.directory.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        Err(DockerdError::Failed(lines[lines.len().saturating_sub(5)..].join(" / ")))
    }

    /// Where it answers, as the settings take it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The ports on which games are to be published, `FIRST-LAST` as the settings take them: no two private engines have the
    /// same.
    pub(crate) fn port_range(&self) -> String {
        let (first, last) = self.ports;
        format!("{first}-{last}")
    }

    fn socket(&self) -> PathBuf {
        socket(&self.remains)
    }

    /// Its process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Stops it with its containers and removes everything; false where something stayed behind.
    pub(crate) async fn close(mut self) -> bool {
        // One that was stopped by SIGSTOP would not hear of it.
        self.process.signal(Signal::CONT);
        self.process.signal(Signal::TERM);
        self.process.wait_async(STOPS_WITHIN).await;
        drop(self.process);
        self.guard.finish().await
    }
}

fn socket(remains: &EngineRemains) -> PathBuf {
    remains.directory.join("sock")
}

fn arguments(remains: &EngineRemains) -> Vec<String> {
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let pairs = [
        ("--host", format!("unix://{}", path(socket(remains)))),
        ("--data-root", path(remains.data_root())),
        ("--exec-root", path(remains.exec_root())),
        ("--pidfile", path(remains.directory.join("pid"))),
        ("--bridge", remains.bridge.clone()),
        ("--shutdown-timeout", CONTAINERS_STOP_WITHIN.to_owned()),
    ];
    let pairs = pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    pairs.chain(["--iptables=false", "--ip6tables=false"].map(str::to_owned)).collect()
}

/// A dockerd that has waited too long for its containerd sends it SIGUSR1, which makes that write its stacks to TMPDIR: they are
/// to go with the engine.
fn environment(remains: &EngineRemains) -> [(String, String); 1] {
    [("TMPDIR".to_owned(), remains.directory.to_string_lossy().into_owned())]
}

fn bridge_name(number: u16) -> String {
    format!("{BRIDGE_PREFIX}{number}")
}

/// Makes a bridge with a subnet of its own; answers its number. The name is the claim: two processes cannot both create it.
fn claim_bridge() -> Result<u16, String> {
    let ip = |words: &[&str]| run("ip", &words.iter().map(OsString::from).collect::<Vec<_>>());
    let mut refused = String::new();
    for number in 0..ENGINES_MAX {
        let name = bridge_name(number);
        if let Err(error) = ip(&["link", "add", &name, "type", "bridge"]) {
            if !error.contains("File exists") {
                return Err(error);
            }
            refused = error;
            continue;
        }
        // Part of 10.96.0.0/11, out of the way of what engines and clouds choose by themselves.
        let address = format!("10.108.{number}.1/24");
        let prepared = ip(&["address", "add", &address, "dev", &name]).and_then(|()| ip(&["link", "set", &name, "up"]));
        return match prepared {
            Ok(()) => Ok(number),
            Err(error) => {
                // The error that is told is the first one.
                remove_bridge(&name).ok();
                Err(error)
            }
        };
    }
    Err(refused)
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
