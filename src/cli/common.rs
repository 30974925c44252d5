//! What commands share: settings, runtime, signals, talk on stderr.

use std::ffi::OsString;
use std::future::{Future, pending};
use std::io::Write;
use std::process::ExitCode;

use clap::ArgMatches;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit;
use crate::embedded::process::own_variables;
use crate::redis::RedisError;
use crate::settings::{Loaded, Report, Settings, Sources, Values, flags};
use crate::tls::Tls;

/// An argument that cannot be right; the argument parser's own code.
pub(super) const USAGE: u8 = 2;

/// The settings of this command line, or the report of everything that is wrong with them.
pub(super) fn settings(sources: &Sources) -> Result<Settings, ExitCode> {
    match Settings::load(sources) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            Ok(loaded.settings)
        }
        Err(report) => {
            eprintln!("{report}");
            Err(ExitCode::from(Report::EXIT_CODE))
        }
    }
}

/// The sources of a command that takes settings as flags.
pub(super) fn sources(matches: &ArgMatches) -> Sources {
    Sources::of_process(flags::given(matches))
}

/// Settings of these names and values, and defaults: nothing of the user's environment.
pub(super) fn settings_of(pairs: &[(String, String)]) -> Result<Settings, Report> {
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    let environment = pairs.iter().map(|(name, value)| (variable(name), value.clone()));
    Settings::load(&Sources::new(Values::new(), environment)).map(|loaded| loaded.settings)
}

/// The variables that say where the user's Docker Engine is and how it is reached: ours, and Docker's own.
const DOCKER_VARIABLES: [&str; 4] = [
    "STARTJOBS_DOCKER_HOST",
    "STARTJOBS_DOCKER_TLS_CA_FILE",
    "STARTJOBS_DOCKER_TLS_CERT_FILE",
    "STARTJOBS_DOCKER_TLS_KEY_FILE",
];
const DOCKERS_OWN_VARIABLES: [&str; 5] =
    ["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG", "HOME"];

/// The user's Docker Engine.
pub(super) struct UsersDocker {
    /// Where it answers.
    pub(super) host: String,
    /// How the connection is encrypted.
    pub(super) tls: Option<Tls>,
    /// Both as settings of a replica.
    pub(super) settings: Vec<(String, String)>,
}

/// Where the user's Docker Engine answers, whatever else the environment says.
pub(super) fn docker() -> Result<UsersDocker, Report> {
    let wanted = DOCKER_VARIABLES.iter().chain(&DOCKERS_OWN_VARIABLES);
    let environment = wanted.filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    let engine = Values::from([("engine", "docker".to_owned())]);
    let Loaded { settings, resolved, .. } = Settings::load(&Sources::new(engine, environment))?;
    let of_docker =
        resolved.into_iter().filter(|setting| setting.name.starts_with("docker-") && setting.value != "none");
    let settings_of_replicas = of_docker.map(|setting| (setting.name.to_owned(), setting.value)).collect();
    let engine = settings.engine;
    Ok(UsersDocker { host: engine.docker_host, tls: engine.docker_tls, settings: settings_of_replicas })
}

/// Names and values of settings, from texts.
pub(super) fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// An error of Redis for people: of an operating system's error only its words.
pub(super) fn in_words(error: &RedisError) -> String {
    let quoted = error.text.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    quoted.map_or_else(|| error.text.clone(), |(words, _)| words.to_owned())
}

/// The words of a `redis-cli` command that lead to this Redis: it takes no URL of a socket.
pub(super) fn cli_words(display_url: &str) -> String {
    let socket = display_url.split_once("+unix://").and_then(|(_, rest)| Some(&rest[rest.find('/')?..]));
    socket.map_or_else(|| format!("-u {display_url}"), |path| format!("-s {path}"))
}

/// How the user called this program, so that what is printed can be pasted.
pub(super) fn program_as_typed() -> String {
    let typed = std::env::args_os().next().unwrap_or_default().to_string_lossy().into_owned();
    if typed.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-+".contains(letter)) && !typed.is_empty() {
        typed
    } else {
        format!("'{}'", typed.replace('\'', "'\\''"))
    }
}

/// Settings in the environment that a fleet on this machine does not take over.
pub(super) fn say_ignored_variables() {
    let names: Vec<String> = own_variables()
        .filter(|name| !DOCKER_VARIABLES.iter().any(|one| name == one))
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    if !names.is_empty() {
        eprintln!("note: this fleet does not use {}, which your environment sets", names.join(", "));
    }
}

/// Prints data on stdout.
pub(super) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => {}
        // Whoever reads has seen enough: `startjobs ... | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => eprintln!("startjobs: cannot print: {error}"),
    }
}

/// Lines of names and values, the values in one column.
pub(super) fn aligned<N: AsRef<str>, V: AsRef<str>>(lines: &[(N, V)]) -> String {
    let width = lines.iter().map(|(name, _)| name.as_ref().chars().count()).max().unwrap_or_default();
    let line =
        |(name, value): &(N, V)| format!("{:width$}  {}", name.as_ref(), value.as_ref()).trim_end().to_owned() + "\n";
    lines.iter().map(line).collect()
}

/// Runs a command to its exit code. One thread: a worker's time goes into waiting, and a hand-over between threads
/// costs more than it brings.
pub(super) fn block_on(command: impl Future<Output = u8>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cannot_start(&error),
    };
    let code = runtime.block_on(command);
    // Whatever still runs (a name lookup, say) must not hold up the end.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// The system refuses what every process needs.
pub(super) fn cannot_start(error: &std::io::Error) -> ExitCode {
    eprintln!("startjobs: cannot start: {error}");
    ExitCode::from(exit::FAILED)
}

/// The signals that ask a process to stop.
pub(super) struct Stops {
    interrupt: Signal,
    terminate: Signal,
    /// None where the process was started to outlive its terminal, as by `nohup`.
    hang_up: Option<Signal>,
}

impl Stops {
    /// From here on the signals no longer end the process by themselves.
    pub(super) fn listen() -> std::io::Result<Self> {
        let hang_up = if is_hang_up_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hang_up })
    }

    /// Waits for the next one; answers the exit code that a second one means.
    pub(super) async fn next(&mut self) -> u8 {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => exit::INTERRUPTED,
            _ = self.terminate.recv() => exit::TERMINATED,
            _ = hang_up => exit::HUNG_UP,
        }
    }
}

/// Is SIGHUP ignored by inheritance? The kernel's mask begins with signal 1, which it is.
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
