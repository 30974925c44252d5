//! Child processes that end with the thread that started them, even if that is killed.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running child. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
}

/// The variables of this process's environment that are settings of ours.
pub fn own_variables() -> impl Iterator<Item = OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| name.as_encoded_bytes().starts_with(b"STARTJOBS_"))
}

/// How often a child is polled while the caller waits for it.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

impl Process {
    /// Starts `program`, with both outputs going to the end of `log`.
    ///
    /// Through `setpriv` (util-linux), which asks the kernel to kill the child when the starting thread ends: a
    /// destructor alone would not run if this process is killed.
    pub fn start(
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> io::Result<Self> {
        Self::start_bound(program, arguments, environment, log, "KILL")
    }

    /// The same, but the kernel only asks it to stop when the starting thread ends: for a program with children of its own.
    pub(crate) fn start_stopped_with_parent(
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> io::Result<Self> {
        Self::start_bound(program, arguments, environment, log, "TERM")
    }

    fn start_bound(
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
        at_parents_end: &str,
    ) -> io::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new("setpriv");
        // Settings in the user's environment are meant for other processes.
        for variable in own_variables() {
            command.env_remove(variable);
        }
        let child = command
            .args(["--pdeathsig", at_parents_end, "--"])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C on the terminal is only for the parent, which stops its children in their order.
            .process_group(0)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => io::Error::other("setpriv is missing (Debian: package util-linux)"),
                _ => error,
            })?;
        let pid = Pid::from_child(&child);
        Ok(Self { child, pid })
    }

    /// Its process id (setpriv becomes the program, so this is the program's).
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; does nothing if the child has ended already.
    pub fn signal(&self, signal: Signal) {
        // It has not been reaped, so the id is still its own; an error says that it has ended.
        kill_process(self.pid, signal).ok();
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        drop(self.child.wait());
    }

    /// Has it ended, and how?
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end for at most `limit`. Blocks the thread.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            match self.ended() {
                None if Instant::now() < deadline => std::thread::sleep(LOOK_INTERVAL),
                ended => return ended,
            }
        }
    }

    /// Waits for its end for at most `limit`.
    pub async fn wait_async(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            match self.ended() {
                None if Instant::now() < deadline => tokio::time::sleep(LOOK_INTERVAL).await,
                ended => return ended,
            }
        }
    }

    /// Is it this process that listens on a port of 127.0.0.1, as the kernel shows it?
    pub(crate) fn listens_on(&self, port: u16) -> bool {
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.id())).unwrap_or_default();
        let sockets: Vec<String> = table.lines().filter_map(|line| listening_socket(line, port)).collect();
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.id()));
        let mut targets = files.into_iter().flatten().flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    }

    /// Is it stopped by SIGSTOP, as the kernel shows it?
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        // The state follows the name, which is in brackets and may hold anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }
}

/// The name that the kernel gives the socket of a line of `/proc/net/tcp`, if that listens on a port of 127.0.0.1.
fn listening_socket(line: &str, port: u16) -> Option<String> {
    const LISTENS: &str = "0A";
    // After the number of the line: both ends, the state; five words on, the inode. An address has the byte order of the machine.
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let local = format!("{:08X}:{port:04X}", u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets()));
    match words.as_slice() {
        [_, address, _, LISTENS, _, _, _, _, _, inode, ..] if *address == local => Some(format!("socket:[{inode}]")),
        _ => None,
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
