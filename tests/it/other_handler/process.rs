//! A replica as a process of its own, and the settings it gets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use startjobs::embedded::process::Process;
use startjobs::faults::Faults;
use startjobs::observe::log;
use startjobs::settings::{Settings, Sources, Values};
use startjobs::worker::config::ReplicaConfig;
use startjobs::worker::handler::Handler;
use startjobs::worker::replica::Exit;
use startjobs::worker::run::{Instruments, Site, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::greeter::Greeter;

/// The test that is a replica.
const TEST: &str = "other_handler::replica_process";
/// The environment variable that names the file of [`Greeter::new`].
const ENGINE_DOWN: &str = "GREETER_ENGINE_DOWN";
/// The environment variable that names its host.
const HOST: &str = "GREETER_HOST";

/// One replica that greets.
#[derive(Debug)]
pub struct Replica {
    pub process: Process,
    log: PathBuf,
    /// Its engine is down while this file exists.
    pub engine_down: PathBuf,
}

impl Replica {
    /// Starts this test binary as a replica with these settings; its files are called after its number.
    pub fn start(directory: &Path, number: usize, settings: &[(String, String)], host: Option<&str>) -> Self {
        let log = directory.join(format!("greeter-{number}.log"));
        let engine_down = directory.join(format!("engine-{number}-down"));
        let mut environment: Vec<(String, String)> = settings
            .iter()
            .map(|(name, value)| (format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_")), value.clone()))
            .collect();
        environment.push((ENGINE_DOWN.to_owned(), engine_down.to_string_lossy().into_owned()));
        environment.extend(host.map(|host| (HOST.to_owned(), host.to_owned())));
        let program = std::env::current_exe().expect("this test binary");
        let arguments = ["--exact", TEST, "--ignored", "--nocapture"].map(str::to_owned);
        let process = Process::start(&program, &arguments, &environment, &log).expect("the test binary runs");
        Self { process, log, engine_down }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// The whole life of a replica: from the settings in its environment until SIGTERM.
pub fn main() {
    let Some(engine_down) = std::env::var_os(ENGINE_DOWN).map(PathBuf::from) else {
        // Started by hand, with all ignored tests.
        return;
    };
    let ours = std::env::vars().filter(|(name, _)| name.starts_with("STARTJOBS_"));
    let settings =
        Settings::load(&Sources::new(Values::new(), ours)).unwrap_or_else(|report| panic!("{report}")).settings;
    let instruments = Instruments::new(&settings.worker);
    // Its last lines are written when it goes.
    let _log = log::install(settings.log_format, &instruments.metrics).expect("a log");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let exit = runtime.block_on(replica(settings, instruments, engine_down));
    assert_eq!(exit, Exit::Drained);
}

async fn replica(settings: Settings, instruments: Instruments, engine_down: PathBuf) -> Exit {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be listened for");
    let stops = stop.clone();
    let listener = tokio::spawn(async move {
        terminate.recv().await;
        stops.cancel();
    });
    let lease = settings.worker.claim_idle;
    let Settings { redis, stream, worker, strict, .. } = settings;
    let config = ReplicaConfig { redis, stream, worker, strict };
    let handler = |site: &Site<'_>| {
        let host = std::env::var(HOST).ok();
        let book = Book { commands: Arc::clone(site.commands), consumer: site.consumer.to_owned(), lease, host };
        Ok(Arc::new(Greeter::new(book, engine_down.clone())) as Arc<dyn Handler>)
    };
    let exit = run(config, Faults::default(), instruments, stop, handler).await.expect("it runs");
    listener.abort();
    exit
}
