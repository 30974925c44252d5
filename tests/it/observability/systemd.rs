//! Readiness, status and watchdog on a notify socket of the test's own.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use startjobs::embedded::process::Process;
use startjobs::observe::systemd;
use startjobs::worker::run::Instruments;

use crate::support::world::{FAST, PATIENCE, World};

/// What systemd would be: the socket, and one worker that was told of it.
struct Manager {
    socket: UnixDatagram,
    worker: Process,
    log: PathBuf,
    heard: Vec<(Instant, String)>,
}

impl Manager {
    /// Starts a worker that must show signs of life once a second.
    fn start(world: &World, settings: &[(&str, &str)]) -> Self {
        let path = path_in(world);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Self::at(socket, &path.to_string_lossy(), world, settings)
    }

    /// The same on this socket, of which the worker is told this name.
    fn at(socket: UnixDatagram, name: &str, world: &World, settings: &[(&str, &str)]) -> Self {
        socket.set_nonblocking(true).expect("it is set");
        let log = world.directory.path().join("notified.log");
        let url = world.redis.url();
        let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
        let environment: Vec<(String, String)> = FAST
            .iter()
            .chain(settings)
            .chain(&[("redis-url", url.as_str())])
            .map(|&(name, value)| (variable(name), value.to_owned()))
            .chain([("NOTIFY_SOCKET".to_owned(), name.to_owned()), ("WATCHDOG_USEC".to_owned(), "2000000".to_owned())])
            .collect();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_startjobs"));
        let worker = Process::start(&program, &["worker".to_owned()], &environment, &log).expect("the binary runs");
        Self { socket, worker, log, heard: Vec::new() }
    }

    /// Takes in what was said since; every line is one assignment.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = std::str::from_utf8(&buffer[..length]).expect("text");
            for line in text.lines() {
                assert!(line.split_once('=').is_some_and(|(name, _)| !name.is_empty()), "{text:?}");
                self.heard.push((Instant::now(), line.to_owned()));
            }
        }
    }

    /// Listens until something was said after a moment; answers when.
    async fn hears(&mut self, after: Instant, what: &str, is_it: impl Fn(&str) -> bool) -> Instant {
        let began = Instant::now();
        loop {
            self.listen();
            if let Some((at, _)) = self.heard.iter().find(|(at, line)| *at >= after && is_it(line)) {
                return *at;
            }
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "never heard {what}: {:?}\n{log}", self.heard);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn has_heard(&self, line: &str) -> bool {
        self.heard.iter().any(|(_, heard)| heard == line)
    }
}

#[tokio::test]
async fn systemd_hears_of_the_start_the_work_the_outage_and_the_end() {
    let mut world = World::new().await;
    world.redis.kill();
    let began = Instant::now();
    let mut manager = Manager::start(&world, &[("simulated-latency", "5s")]);
    // Waiting for Redis is no failure to start: the time limit is extended, and the status says why.
    manager.hears(began, "the extension", |line| line == "EXTEND_TIMEOUT_USEC=30000000").await;
    manager.hears(began, "the trouble", |line| line == "STATUS=starting; trouble: redis").await;
    assert!(!manager.has_heard("READY=1"), "{:?}", manager.heard);
    world.redis.start_again().expect("redis-server starts again");
    let ready = manager.hears(began, "readiness", |line| line == "READY=1").await;
    manager.hears(ready, "the status", |line| line.starts_with("STATUS=0 of 64 slots in use, 0 backing off")).await;
    manager.hears(ready, "a sign of life", |line| line == "WATCHDOG=1").await;

    // A Redis that stands still is no reason to restart us.
    world.redis.pause();
    let mut last = Instant::now();
    let until = last + Duration::from_secs(8);
    while last < until {
        let next = manager.hears(last, "a sign of life while Redis stands still", |line| line == "WATCHDOG=1").await;
        assert!(next - last < Duration::from_secs(2), "the watchdog would have bitten: {:?}", next - last);
        last = next + Duration::from_millis(1);
    }
    assert!(manager.heard.iter().any(|(_, line)| line.contains("trouble: ") && line.contains("redis")));
    world.redis.resume();
    manager.hears(last, "the end of the trouble", |line| line == "STATUS=0 of 64 slots in use, 0 backing off").await;

    world.send("game-1", "galaxy/engine:1").await;
    let busy = Instant::now();
    manager.hears(busy, "work", |line| line.starts_with("STATUS=1 of 64 slots in use")).await;
    let term = Instant::now();
    manager.worker.signal(Signal::TERM);
    manager.hears(term, "the end", |line| line == "STOPPING=1").await;
    manager.hears(term, "the time it needs", |line| line == "EXTEND_TIMEOUT_USEC=35000000").await;
    manager.hears(term, "the drain", |line| line == "STATUS=draining, 1 starts in progress").await;
    manager.hears(term, "a sign of life of the drain", |line| line == "WATCHDOG=1").await;
    assert!(manager.worker.wait_async(PATIENCE).await.is_some_and(|status| status.success()));
    assert_eq!(manager.heard.iter().filter(|(_, line)| line == "READY=1").count(), 1);
    world.settled().await;
}

fn path_in(world: &World) -> PathBuf {
    world.directory.path().join("notify")
}

#[tokio::test]
async fn a_socket_may_be_abstract() {
    let world = World::new().await;
    let name = format!("startjobs-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    let began = Instant::now();
    let mut manager = Manager::at(socket, &format!("@{name}"), &world, &[]);
    manager.hears(began, "readiness", |line| line == "READY=1").await;
    manager.hears(began, "a sign of life", |line| line == "WATCHDOG=1").await;
    manager.worker.signal(Signal::TERM);
    manager.hears(began, "the end", |line| line == "STOPPING=1").await;
}

#[tokio::test]
async fn a_manager_that_is_not_there_is_missed_once_and_told_when_it_comes() {
    let world = World::new().await;
    let elsewhere = UnixDatagram::unbound().expect("a socket");
    let began = Instant::now();
    let mut manager = Manager::at(elsewhere, &path_in(&world).to_string_lossy(), &world, &[]);
    let log = |manager: &Manager| std::fs::read_to_string(&manager.log).unwrap_or_default();
    let missed = "service manager cannot be notified";
    // Several attempts, half a second apart.
    while !log(&manager).contains(missed) || began.elapsed() < Duration::from_secs(3) {
        assert!(began.elapsed() < PATIENCE, "{}", log(&manager));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    manager.socket = UnixDatagram::bind(path_in(&world)).expect("a socket");
    manager.socket.set_nonblocking(true).expect("it is set");
    manager.hears(began, "readiness", |line| line == "READY=1").await;
    manager.worker.signal(Signal::TERM);
    assert!(manager.worker.wait_async(PATIENCE).await.is_some_and(|status| status.success()));
    let log = log(&manager);
    assert_eq!(
        (log.matches(missed).count(), log.matches("service manager is notified again").count()),
        (1, 1),
        "{log}"
    );
}

#[tokio::test]
async fn a_loop_that_stands_still_feeds_no_watchdog() {
    let world = World::new().await;
    let instruments = Instruments::new(&world.settings.worker);
    let heard: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
    let (hearing, shown) = (Arc::clone(&heard), instruments.clone());
    let telling = tokio::spawn(systemd::tell(shown, Some(Duration::from_millis(200)), move |lines| {
        let said = lines.iter().map(|line| (Instant::now(), line.clone()));
        hearing.lock().expect("no panic while it is held").extend(said);
        true
    }));
    // The loop has begun, and then never turns again.
    instruments.vitals.started();
    instruments.vitals.turned(false);
    let began = Instant::now();
    let last = |what: &str| {
        let heard = heard.lock().expect("no panic while it is held");
        heard.iter().rev().find(|(_, said)| said == what).map(|(at, _)| *at)
    };
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let fed = last("WATCHDOG=1").unwrap_or(began);
        if fed.elapsed() > Duration::from_secs(4) {
            assert!(fed - began > Duration::from_secs(5), "given up after {:?}", fed - began);
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the watchdog is fed for a loop that stands still");
    }
    let fed = last("WATCHDOG=1").unwrap_or(began);
    let told = last("STATUS=0 of 64 slots in use, 0 backing off").expect("the state is told");
    assert!(told - fed > Duration::from_millis(500), "the state is told on and on");
    // It goes on, and so does the feeding.
    instruments.vitals.turned(false);
    let again = Instant::now();
    while last("WATCHDOG=1").is_none_or(|at| at < again) {
        assert!(again.elapsed() < PATIENCE, "never fed again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    telling.abort();
}
