//! A private container engine: its own socket, data, bridge and containers, gone when it is dropped.

// its API, for those who do not own it
mod api;
// the bridge that its containers are on
mod bridge;
// images made of one program
mod image;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use startjobs::engine::docker::DockerOptions;
use tempfile::TempDir;

pub use self::api::Api;
use self::api::escape;
use self::bridge::{Bridge, ip};
pub use self::image::{add as add_program, archive};

/// How long the engine may take to come up, to answer or to go away, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that is about to happen.
const POLL: Duration = Duration::from_millis(20);

/// Directories and bridges carry this and the process id of their test, so that leftovers of a killed test are known.
const PREFIX: &str = "sjd";

/// A running `dockerd` of our own.
#[derive(Debug)]
pub struct Dockerd {
    dir: TempDir,
    bridge: Bridge,
    /// The URL of its socket.
    host: String,
    /// Where its games are published.
    address: String,
    /// Further arguments of its command line.
    arguments: Vec<String>,
    daemon: Option<Daemon>,
}

impl Dockerd {
    /// Starts one and waits until it answers. None where there is no Docker here: the caller returns, and the test
    /// counts as passed with a loud line on stderr; where the environment demands Docker, it panics instead.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same, with further arguments.
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        Self::start_on(None, arguments)
    }

    /// The same; its data root is a filesystem of its own, with room for so many MiB.
    pub fn start_on_disk_of(mebibytes: u32) -> Option<Self> {
        Self::start_on(Some(mebibytes), &[])
    }

    fn start_on(disk: Option<u32>, arguments: &[&str]) -> Option<Self> {
        match Self::try_start(disk, arguments) {
            Ok(dockerd) => Some(dockerd),
            Err(reason) => {
                leave_out(&format!("no private dockerd: {reason}"));
                None
            }
        }
    }

    fn try_start(disk: Option<u32>, arguments: &[&str]) -> Result<Self, String> {
        for (program, package) in [("dockerd", "docker.io"), ("ip", "iproute2"), ("setpriv", "util-linux")] {
            if find_program(program).is_none() {
                return Err(format!("`{program}` is not installed (package {package})"));
            }
        }
        sweep();
        let bridge = Bridge::claim()?;
        // Short, because a socket's path has at most 107 bytes.
        let prefix = format!("{PREFIX}-{}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir().map_err(|error| error.to_string())?;
        if let Some(mebibytes) = disk {
            mount_disk(&dir.path().join("data"), mebibytes)?;
        }
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let host = format!("unix://{}", dir.path().join("sock").display());
        let address = bridge.loopback.to_string();
        let mut dockerd = Self { dir, bridge, host, address, arguments, daemon: None };
        dockerd.bring_up()?;
        Ok(dockerd)
    }

    /// The bridge that its containers are on: nobody else has one of this name.
    pub fn bridge(&self) -> &str {
        &self.bridge.name
    }

    /// Where it keeps its images and containers.
    pub fn data_root(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The URL of its socket.
    pub fn host(&self) -> String {
        self.host.clone()
    }

    /// The loopback address on which its games are published. Each engine looks for free ports on its own, from the same number
    /// on, and gives up after ten: on one address several engines, and whatever connects from there, would be in its way.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a replica beside it is told: where it is, and where its games are published.
    pub fn settings(&self) -> [(&str, &str); 3] {
        [("docker-host", &self.host), ("publish-address", &self.address), ("advertise-host", &self.address)]
    }

    /// The same for an engine of ours without a replica.
    pub fn options(&self, port: u16, start_concurrency: usize) -> DockerOptions {
        let publish_address = Some(self.bridge.loopback.into());
        DockerOptions { publish_address, ..DockerOptions::new(&self.host, port, start_concurrency) }
    }

    /// Stops the engine and with it its containers, whose data stay.
    pub fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.end();
        }
    }

    /// Kills the engine, with the containerd below it; its containers run on without them.
    pub fn kill(&mut self) {
        let Some(daemon) = self.daemon.take() else {
            return;
        };
        let containerd = fs::read_to_string(self.dir.path().join("exec/containerd/containerd.pid"));
        signal_process("KILL", daemon.pid);
        daemon.end();
        let pid = containerd.ok().and_then(|pid| pid.trim().parse().ok());
        let pid = pid.expect("a running engine has a containerd of its own");
        signal_process("KILL", pid);
        assert!(wait_until(|| !is_alive(pid)), "containerd {pid} survived SIGKILL");
    }

    /// Stops the engine's process where it is: it accepts connections and answers nothing, and its containers run on.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// It goes on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        if let Some(daemon) = &self.daemon {
            signal_process(signal, daemon.pid);
        }
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`].
    pub fn restart(&mut self) {
        assert!(self.daemon.is_none(), "it is stopped");
        self.bring_up().expect("an engine that ran before runs again");
    }

    /// Makes the image `name` (`repository:tag`) without any registry: the program, the shared libraries it needs, and
    /// an entry point of the program with these arguments. `changes` are further Dockerfile lines (`LABEL a=b`).
    pub fn import_image(&self, name: &str, program: &Path, arguments: &[&str], changes: &[&str]) {
        let entry_point = [&["/program"], arguments].concat();
        let entry_point = serde_json::to_string(&entry_point).expect("text is JSON");
        let entry_point = format!("ENTRYPOINT {entry_point}");
        self.import_programs(name, &[("program", program)], &[&[entry_point.as_str()], changes].concat());
    }

    /// Makes the image `name` of several programs, each under its path there, with the shared libraries they need.
    pub fn import_programs(&self, name: &str, programs: &[(&str, &Path)], changes: &[&str]) {
        self.import(name, &archive(programs), changes);
    }

    /// Makes the image `name` of an archive of programs.
    pub fn import(&self, name: &str, archive: &[u8], changes: &[&str]) {
        self.api(PATIENCE).import(name, archive, changes);
    }

    /// One API request; the status and the body of its answer.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
        self.api(PATIENCE).request(method, path, body)
    }

    /// Its API for another thread, which waits so long for each answer.
    pub fn api(&self, patience: Duration) -> Api {
        Api { socket: self.socket(), patience }
    }

    /// All containers, running or not, as the engine lists them.
    pub fn list(&self) -> Vec<Value> {
        let body = self.request("GET", "/containers/json?all=1", b"").map(|(_, body)| body).unwrap_or_default();
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// The ids of all containers, running or not.
    pub fn containers(&self) -> Vec<String> {
        let listed = self.list();
        let ids = listed.iter().filter_map(|container| container["Id"].as_str());
        ids.map(str::to_owned).collect()
    }

    /// What has happened to containers since the engine came up, oldest first: at most the last 256 events, which is
    /// what an engine keeps.
    pub fn events(&self) -> Vec<Value> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let path = format!(
            "/events?since=1&until={}.{:09}&filters={}",
            now.as_secs(),
            now.subsec_nanos(),
            escape(r#"{"type":["container"]}"#)
        );
        let (status, body) = self.request("GET", &path, b"").expect("the engine answers");
        assert_eq!(status, 200, "{body}");
        body.lines().map(|line| serde_json::from_str(line).expect("one event a line")).collect()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    fn bring_up(&mut self) -> Result<(), String> {
        let daemon = Daemon::spawn(self.dir.path(), &self.bridge.name, &self.arguments)?;
        self.daemon = Some(daemon);
        let patience = Instant::now() + PATIENCE;
        while self.daemon.as_ref().is_some_and(|daemon| !daemon.has_ended()) && Instant::now() < patience {
            if matches!(self.request("GET", "/_ping", b""), Ok((200, _))) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        Err(format!("dockerd did not come up:\n{}", lines[lines.len().saturating_sub(5)..].join("\n")))
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.thaw();
        // By force, because a stop would wait ten seconds for each program that does not listen to SIGTERM.
        thread::scope(|scope| {
            for id in self.containers() {
                let engine = &*self;
                scope.spawn(move || engine.request("DELETE", &format!("/containers/{id}?force=1&v=1"), b""));
            }
        });
        self.stop();
        remove_leftovers(self.dir.path());
    }
}

/// The process, and the thread that started it and waits for it.
///
/// A parent-death signal is sent when the *thread* that started a process ends; this one ends with the process, so
/// dockerd is told to stop when, and only when, the whole test process dies.
#[derive(Debug)]
struct Daemon {
    pid: u32,
    keeper: thread::JoinHandle<()>,
}

impl Daemon {
    fn spawn(dir: &Path, bridge: &str, arguments: &[String]) -> Result<Self, String> {
        let log = fs::File::options().create(true).append(true).open(dir.join("log"));
        let log = log.map_err(|error| error.to_string())?;
        // Left behind by an engine that was killed.
        drop(fs::remove_file(dir.join("pid")));
        let path = |name: &str| dir.join(name).display().to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "dockerd", "--host", &format!("unix://{}", path("sock"))])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["--iptables=false", "--ip6tables=false", "--bridge", bridge])
            .args(arguments)
            // Its containerd writes its stacks there when a busy dockerd has waited too long for it.
            .env("TMPDIR", dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let (tell, told) = mpsc::channel();
        let keeper = thread::spawn(move || {
            let child = command.spawn();
            match child {
                Ok(mut child) => {
                    tell.send(Ok(child.id())).expect("the fixture waits for the id");
                    child.wait().expect("nobody else waits for this child");
                }
                Err(error) => tell.send(Err(error.to_string())).expect("the fixture waits for the id"),
            }
        });
        let pid = told.recv().map_err(|error| error.to_string())??;
        Ok(Self { pid, keeper })
    }

    fn has_ended(&self) -> bool {
        self.keeper.is_finished()
    }

    /// Asks it to stop, and kills it where it does not.
    fn end(self) {
        for signal in ["TERM", "KILL"] {
            if !self.has_ended() {
                signal_process(signal, self.pid);
            }
            if wait_until(|| self.has_ended()) {
                break;
            }
        }
        drop(self.keeper.join());
    }
}

/// A filesystem in memory, which goes with the rest of what is mounted there.
fn mount_disk(directory: &Path, mebibytes: u32) -> Result<(), String> {
    fs::create_dir(directory).map_err(|error| error.to_string())?;
    let options = format!("size={mebibytes}m,mode=711");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory).output();
    let mounted = mounted.map_err(|error| format!("`mount`: {error}"))?;
    if mounted.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned()) }
}

/// Takes away what tests left behind that were killed.
fn sweep() {
    let owner_is_gone = |name: &str| {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| {
            let pid = rest.trim_end().split('-').next()?;
            pid.parse::<u32>().ok()
        });
        pid.is_some_and(|pid| !is_alive(pid))
    };
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(owner_is_gone);
        let pid = fs::read_to_string(entry.path().join("pid")).ok().and_then(|pid| pid.trim().parse().ok());
        // Its engine may still be on its way out.
        if is_ours && !pid.is_some_and(is_alive) {
            remove_leftovers(&entry.path());
            drop(fs::remove_dir_all(entry.path()));
        }
    }
    for entry in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let alias = fs::read_to_string(entry.path().join("ifalias")).unwrap_or_default();
        if owner_is_gone(&alias) {
            drop(ip(&["link", "delete", &entry.file_name().to_string_lossy()]));
        }
    }
}

/// Kills what still runs out of this directory (an engine that was killed leaves its containers) and unmounts what
/// is mounted below it.
fn remove_leftovers(dir: &Path) {
    let dir = dir.to_str().expect("a temporary directory's path is text");
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        let command_line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if pid != std::process::id() && String::from_utf8_lossy(&command_line).contains(&format!("{dir}/")) {
            signal_process("KILL", pid);
            wait_until(|| !is_alive(pid));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|point| point.starts_with(dir));
    for point in below.collect::<Vec<_>>().into_iter().rev() {
        drop(Command::new("umount").args(["--lazy", point]).output());
    }
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).is_dir()
}

fn signal_process(signal: &str, pid: u32) {
    drop(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).output());
}

fn wait_until(condition: impl Fn() -> bool) -> bool {
    let patience = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > patience {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// Says that a test, or a part of it, is left out, and why; where the environment demands Docker, it panics instead.
pub fn leave_out(reason: &str) {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    assert!(!is_set("CI") && !is_set("STARTJOBS_REQUIRE_DOCKER"), "required here, and not to be had: {reason}");
    // Past the capture of a passing test's output.
    drop(std::io::stderr().write_all(format!("TEST LEFT OUT: {reason}\n").as_bytes()));
}

pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}
