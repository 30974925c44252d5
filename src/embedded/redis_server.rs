//! A redis-server of one's own: loopback, a free port, a temporary directory, append-only file on.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::Process;

/// A running redis-server. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct RedisServer {
    program: PathBuf,
    port: u16,
    options: Vec<String>,
    process: Process,
    directory: TempDir,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program is missing.
    #[error("cannot run {0}: install the package that brings it (Debian: redis-server)")]
    Missing(PathBuf),
    /// It did not come up; what it said.
    #[error("redis-server did not come up: {0}")]
    Failed(String),
    /// The machine refused something.
    #[error("cannot prepare a redis-server: {0}")]
    Io(#[from] io::Error),
}

/// How often another port is tried: somebody else may take one between our choosing it and the server's binding it.
const PORTS_TRIED_MAX: usize = 5;
const UP_WITHIN: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

impl RedisServer {
    /// Starts the `redis-server` of the search path.
    pub fn start() -> Result<Self, StartError> {
        Self::start_with(Path::new("redis-server"), &[])
    }

    /// Starts this program with further options (`--name value` pairs).
    pub fn start_with(program: &Path, options: &[&str]) -> Result<Self, StartError> {
        Self::start_below(&std::env::temp_dir(), program, options)
    }

    /// The same, with its directory below `parent`.
    pub fn start_below(parent: &Path, program: &Path, options: &[&str]) -> Result<Self, StartError> {
        let directory = tempfile::Builder::new().prefix("startjobs-redis-").tempdir_in(parent)?;
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let mut said = String::new();
        for _ in 0..PORTS_TRIED_MAX {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let mut process = launch(program, port, &options, directory.path())?;
            match await_up(&mut process, port, directory.path()) {
                Ok(()) => {
                    return Ok(Self { program: program.to_owned(), port, options, process, directory });
                }
                Err(text) => said = text,
            }
        }
        if said.contains("failed to execute") {
            return Err(StartError::Missing(program.to_owned()));
        }
        Err(StartError::Failed(said))
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As the settings take it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its directory: data and log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Has it ended, other than by [`Self::kill`] or by being dropped?
    pub fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops it where it stands: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Starts it again on the same port and data, after a kill.
    pub fn start_again(&mut self) -> Result<(), StartError> {
        self.process.kill();
        self.process = launch(&self.program, self.port, &self.options, self.directory.path())?;
        await_up(&mut self.process, self.port, self.directory.path()).map_err(StartError::Failed)
    }
}

fn launch(program: &Path, port: u16, options: &[String], directory: &Path) -> Result<Process, StartError> {
    let directory_text = directory.to_string_lossy().into_owned();
    let mut arguments: Vec<String> = [
        ("--bind", "127.0.0.1"),
        ("--port", &port.to_string()),
        ("--dir", &directory_text),
        ("--appendonly", "yes"),
        ("--appendfsync", "everysec"),
        ("--save", ""),
        ("--maxmemory-policy", "noeviction"),
        ("--daemonize", "no"),
    ]
    .iter()
    .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
    .collect();
    arguments.extend_from_slice(options);
    Ok(Process::start(program, &arguments, &[], &directory.join("redis.log"))?)
}

fn await_up(process: &mut Process, port: u16, directory: &Path) -> Result<(), String> {
    let deadline = Instant::now() + UP_WITHIN;
    while Instant::now() < deadline {
        if answers(port) {
            return Ok(());
        }
        if process.ended().is_some() {
            break;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    let log = std::fs::read_to_string(directory.join("redis.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    Err(lines[lines.len().saturating_sub(5)..].join(" / "))
}

/// Any reply but "still loading" means that it is up; a password it asks for is the caller's affair.
fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return false;
    };
    let mut reply = [0; 64];
    let asked = stream.set_read_timeout(Some(Duration::from_secs(1))).and_then(|()| stream.write_all(b"PING\r\n"));
    match asked.and_then(|()| stream.read(&mut reply)) {
        Ok(length) => length > 0 && !reply.starts_with(b"-LOADING"),
        Err(_) => false,
    }
}
