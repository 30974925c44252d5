//! A redis-server of one's own: a socket or a free port of loopback, a temporary directory, append-only file on.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::leftovers::directory_of_ours;
use super::process::Process;

/// A running redis-server. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct RedisServer {
    program: PathBuf,
    door: Door,
    /// A file of settings first, if there is one.
    options: Vec<String>,
    environment: Vec<(String, String)>,
    password: Option<Password>,
    process: Process,
    directory: TempDir,
}

/// Where it listens.
#[derive(Debug, Clone)]
enum Door {
    /// A port of loopback, which every user of the machine can connect to.
    Port(u16),
    /// A socket that only our own user can open.
    Socket(PathBuf),
}

/// What one must know to use it.
struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A file of settings; the password in it, if it has one that others must know.
#[derive(Debug, Default)]
struct Text {
    settings: String,
    password: Option<Password>,
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
    /// No socket can be made there.
    #[error(
        "cannot make a socket at {0}: its path must have at most {max} plain characters; set TMPDIR to a shorter directory",
        max = SOCKET_PATH_BYTES_MAX
    )]
    Directory(PathBuf),
    /// The machine refused something.
    #[error("cannot prepare a redis-server: {0}")]
    Io(#[from] io::Error),
}

/// How often another port is tried: another program may take one between our choice and the server's bind.
const PORTS_TRIED_MAX: usize = 5;
const UP_WITHIN: Duration = Duration::from_secs(30);
/// The longest path of a socket that the kernel takes, without its closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// What else than letters and digits may be in its path, so that it is one word of a URL and of a shell.
const SOCKET_PATH_SIGNS: &[u8] = b"/._-+,=:";
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
    pub(crate) fn start_below(parent: &Path, program: &Path, options: &[&str]) -> Result<Self, StartError> {
        Self::start_on_a_port(parent, program, options, Vec::new(), Text::default())
    }

    /// The same with a file of settings, which a sentinel writes anew.
    pub fn start_with_file(
        parent: &Path,
        program: &Path,
        options: &[&str],
        settings: String,
    ) -> Result<Self, StartError> {
        Self::start_on_a_port(parent, program, options, Vec::new(), Text { settings, password: None })
    }

    /// The same in the temporary directory, with further variables in its environment.
    pub fn start_in(program: &Path, environment: Vec<(String, String)>) -> Result<Self, StartError> {
        Self::start_on_a_port(&std::env::temp_dir(), program, &[], environment, Text::default())
    }

    /// The same with a password, so that no other user of this machine can use it. The password is in a file that only our
    /// user can read, because every user can see arguments.
    pub(crate) fn start_guarded(parent: &Path, program: &Path, options: &[&str]) -> Result<Self, StartError> {
        // Twice 122 bits of the system's randomness.
        let words = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|word| word.simple().to_string());
        let password = words.concat();
        let settings = format!("requirepass {password}\n");
        Self::start_on_a_port(
            parent,
            program,
            options,
            Vec::new(),
            Text { settings, password: Some(Password(password)) },
        )
    }

    fn start_on_a_port(
        parent: &Path,
        program: &Path,
        options: &[&str],
        environment: Vec<(String, String)>,
        Text { settings, password }: Text,
    ) -> Result<Self, StartError> {
        let directory = directory_of_ours(parent, "redis")?;
        let mut words: Vec<String> = Vec::new();
        if !settings.is_empty() {
            let file = directory.path().join("redis.conf");
            std::fs::write(&file, settings)?;
            words.push(file.to_string_lossy().into_owned());
        }
        words.extend(options.iter().map(|&option| option.to_owned()));
        let options = words;
        let mut said = String::new();
        for _ in 0..PORTS_TRIED_MAX {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let door = Door::Port(port);
            let mut process = launch(program, &door, &options, &environment, directory.path())?;
            match await_up(&mut process, &door, directory.path()) {
                Ok(()) => {
                    let program = program.to_owned();
                    return Ok(Self { program, door, options, environment, password, process, directory });
                }
                Err(text) => said = text,
            }
        }
        Err(not_up(program, said))
    }

    /// Starts the `redis-server` of the search path so that no other user of this machine can use it: it listens on a
    /// socket of mode 0600 in a directory of mode 0700 below `parent`, and on no port.
    pub(crate) fn start_private(parent: &Path) -> Result<Self, StartError> {
        let program = Path::new("redis-server");
        let directory = directory_of_ours(parent, "redis")?;
        let socket = directory.path().join("redis.sock");
        let path = socket.as_os_str().as_bytes();
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || SOCKET_PATH_SIGNS.contains(byte);
        if path.len() > SOCKET_PATH_BYTES_MAX || !path.iter().all(is_plain) {
            return Err(StartError::Directory(socket));
        }
        let door = Door::Socket(socket);
        let mut process = launch(program, &door, &[], &[], directory.path())?;
        match await_up(&mut process, &door, directory.path()) {
            Ok(()) => {
                let (program, options, environment) = (program.to_owned(), Vec::new(), Vec::new());
                Ok(Self { program, door, options, environment, password: None, process, directory })
            }
            Err(said) => Err(not_up(program, said)),
        }
    }

    /// The port on which it listens; 0 if it listens only on a socket.
    pub fn port(&self) -> u16 {
        match self.door {
            Door::Port(port) => port,
            Door::Socket(_) => 0,
        }
    }

    /// As the settings take it.
    pub fn url(&self) -> String {
        let login = self.password.as_ref().map_or_else(String::new, |Password(password)| format!(":{password}@"));
        match &self.door {
            Door::Port(port) => format!("redis://{login}127.0.0.1:{port}"),
            Door::Socket(path) => format!("redis+unix://{}", path.display()),
        }
    }

    /// The words of a `redis-cli` command that lead to it.
    pub(crate) fn cli_words(&self) -> String {
        match &self.door {
            Door::Port(port) => format!("-p {port}"),
            Door::Socket(path) => format!("-s {}", path.display()),
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
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

    /// Stops it with SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it continue.
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Starts it again at the same place and with its data, after a kill.
    pub fn start_again(&mut self) -> Result<(), StartError> {
        self.process.kill();
        self.process = launch(&self.program, &self.door, &self.options, &self.environment, self.directory.path())?;
        await_up(&mut self.process, &self.door, self.directory.path()).map_err(StartError::Failed)
    }
}

fn not_up(program: &Path, said: String) -> StartError {
    if said.contains("failed to execute") {
        return StartError::Missing(program.to_owned());
    }
    StartError::Failed(said)
}

fn launch(
    program: &Path,
    door: &Door,
    options: &[String],
    environment: &[(String, String)],
    directory: &Path,
) -> Result<Process, StartError> {
    let directory_text = directory.to_string_lossy().into_owned();
    let listens = match door {
        Door::Port(port) => vec![("--bind", "127.0.0.1".to_owned()), ("--port", port.to_string())],
        Door::Socket(path) => vec![
            ("--port", "0".to_owned()),
            ("--unixsocket", path.to_string_lossy().into_owned()),
            ("--unixsocketperm", "600".to_owned()),
        ],
    };
    let listens = listens.iter().map(|(name, value)| (*name, value.as_str()));
    let others: [(&str, &str); 6] = [
        ("--dir", &directory_text),
        ("--appendonly", "yes"),
        ("--appendfsync", "everysec"),
        ("--save", ""),
        ("--maxmemory-policy", "noeviction"),
        ("--daemonize", "no"),
    ];
    let pairs = listens.chain(others);
    let own: Vec<String> = pairs.flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect();
    // A file of settings must be the first word.
    let (file, options) = options.split_at(usize::from(options.first().is_some_and(|word| !word.starts_with('-'))));
    let arguments = [file, &own, options].concat();
    Ok(Process::start(program, &arguments, environment, &directory.join("redis.log"))?)
}

fn await_up(process: &mut Process, door: &Door, directory: &Path) -> Result<(), String> {
    let deadline = Instant::now() + UP_WITHIN;
    while Instant::now() < deadline {
        // Two programs may have chosen the same port at the same time: then one of their servers answers, and the other ends.
        if answers(door) && is_behind(process, door) {
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

/// Whether it is this process that answers there. No other user can make a socket in our directory.
fn is_behind(process: &Process, door: &Door) -> bool {
    match door {
        Door::Port(port) => process.listens_on(*port),
        Door::Socket(_) => true,
    }
}

/// Any reply but "still loading" means that it is up; the caller has the password that it asks for.
fn answers(door: &Door) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    let reply = match door {
        Door::Port(port) => TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), PATIENCE)
            .and_then(|stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                reply_to_ping(stream)
            }),
        Door::Socket(path) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            reply_to_ping(stream)
        }),
    };
    reply.is_ok_and(|reply| !reply.is_empty() && !reply.starts_with(b"-LOADING"))
}

fn reply_to_ping(mut stream: impl Read + Write) -> io::Result<Vec<u8>> {
    let mut reply = [0; 64];
    stream.write_all(b"PING\r\n")?;
    let length = stream.read(&mut reply)?;
    Ok(reply[..length].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_port_another_one_has_is_not_up_although_the_port_answers() {
        let first = RedisServer::start().expect("redis-server starts");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut second = launch(Path::new("redis-server"), &first.door, &[], &[], directory.path()).expect("it runs");
        let up = await_up(&mut second, &first.door, directory.path());
        assert!(up.as_ref().is_err_and(|said| said.contains("Address already in use")), "{up:?}");
    }
}
