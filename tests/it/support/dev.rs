//! A running `startjobs dev`, as a user has it before them: its banner, its stderr, and what it must leave behind.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The program, with nothing of the user's environment but where programs are.
pub fn startjobs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// The value on the line of this name.
pub fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no line {name} in {text}")).trim()
}

/// A running `startjobs dev`, as its banner describes it.
pub struct Dev {
    pub child: Child,
    pub stderr: BufReader<ChildStderr>,
    pub url: String,
    pub banner: String,
    pub pids: Vec<u32>,
    directory: TempDir,
}

impl Dev {
    /// Starts one, and reads its banner.
    pub fn start(replicas: usize) -> Self {
        Self::start_with(replicas, &[])
    }

    /// The same, with further arguments.
    pub fn start_with(replicas: usize, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut child = startjobs()
            .env("TMPDIR", directory.path())
            .args(["dev", "--replicas", &replicas.to_string()])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary under test runs");
        let mut banner = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        while !banner.contains("Ctrl-C stops") {
            let read = stdout.read_line(&mut banner).expect("the banner is text");
            assert!(read > 0, "the banner breaks off: {banner}");
        }
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let url = value(&banner, "redis").to_owned();
        let pids: Vec<u32> = value(&banner, "pids").split(' ').map(|pid| pid.parse().expect("a number")).collect();
        assert_eq!(pids.len(), replicas);
        for advice in
            [format!("export STARTJOBS_REDIS_URL={url}"), format!("kill -9 {}", pids[0]), " alerts".to_owned()]
        {
            assert!(banner.contains(&advice), "{advice} in {banner}");
        }
        Self { child, stderr, url, banner, pids, directory }
    }

    /// The temporary directory that it was given, for what nothing may be left in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn redis_answers(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }

    /// Where its redis-server listens.
    pub fn socket(&self) -> &str {
        self.url.strip_prefix("redis+unix://").expect("a socket")
    }

    /// Redis, every replica and the directory are gone.
    pub fn is_gone(&self) -> bool {
        !self.redis_answers()
            && !self.pids.iter().any(|&pid| is_running(pid))
            && entries(self.directory.path()).is_empty()
    }

    /// The same, or it says what is left.
    pub fn assert_gone(&mut self) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("text");
        assert!(!self.redis_answers(), "redis-server still answers: {said}");
        for &pid in &self.pids {
            assert!(!is_running(pid), "replica {pid} still runs: {said}");
        }
        assert_empty(self.directory.path());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it still runs");
}

/// Not gone, and not only waiting for its parent to notice.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).expect("it exists").map(|entry| entry.expect("an entry").path()).collect()
}

/// Nothing is in it.
pub fn assert_empty(directory: &Path) {
    assert_eq!(entries(directory), Vec::<PathBuf>::new());
}
