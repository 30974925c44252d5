//! `startjobs dev --hosts`: a host that dies with jobs under way, and what stays behind of private engines.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Signal, geteuid};
use serde_json::Value;
use startjobs::lobby::accounting::{Account, Sent};
use startjobs::lobby::client::Lobby;
use startjobs::settings::Settings;
use startjobs::stream::entry_id::EntryId;

use crate::support::dev::{Dev, signal, startjobs, value};
use crate::support::dockerd::{Api, archive, find_program};
use crate::support::world::{PATIENCE, load};

/// `host-heartbeat` of such a fleet.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Our own binary as a game engine.
const GAME: &str = "startjobs.test/game:1";

/// A running fleet from Lobby's side.
struct Fleet {
    dev: Dev,
    lobby: Lobby,
    settings: Settings,
    sent: HashMap<String, Sent>,
}

impl Fleet {
    async fn of(dev: Dev) -> Self {
        let settings = load(&[("redis-url".to_owned(), dev.url.clone())]);
        let lobby = Lobby::connect(&settings.redis, &settings.stream).await.expect("a connection");
        Self { dev, lobby, settings, sent: HashMap::new() }
    }

    async fn send(&mut self, game: &str, image: &str) -> EntryId {
        let id = self.lobby.append(game, image, 17).await.expect("appended");
        self.sent.insert(id.to_string(), Sent::Job);
        id
    }

    /// How many jobs these processes have in their hands.
    async fn held_by(&self, pids: &[u32]) -> usize {
        let replicas = self.lobby.replicas().await.expect("an answer");
        let pending = self.lobby.pending().await.expect("an answer");
        pending.iter().filter(|entry| replicas.get(&entry.consumer).is_some_and(|pid| pids.contains(pid))).count()
    }

    async fn eventually(&self, what: &str, state: impl AsyncFn(&Self) -> bool) {
        let began = Instant::now();
        while !state(self).await {
            assert!(began.elapsed() < 2 * PATIENCE, "never came true: {what}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn account(&self) -> Account {
        let outcomes = self.lobby.all_outcomes().await.expect("outcomes");
        let dead = self.lobby.all_dead().await.expect("dead letters");
        Account::draw(&self.sent, &outcomes, &dead)
    }

    /// Everything sent is answered exactly once, and with success.
    async fn all_answered(&self) {
        self.eventually("everything is answered", async |fleet: &Self| fleet.account().await.lost.is_empty()).await;
        let account = self.account().await;
        assert!(account.is_exact(), "{account:?}\n{}", self.logs());
        let outcomes = self.lobby.all_outcomes().await.expect("outcomes");
        assert!(outcomes.iter().all(|outcome| outcome.outcome == "success"), "{outcomes:?}\n{}", self.logs());
    }

    fn logs(&self) -> String {
        let pattern = value(&self.dev.banner, "logs");
        let folder = Path::new(pattern).parent().expect("a folder");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let logs = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".log"));
        logs.map(|entry| std::fs::read_to_string(entry.path()).unwrap_or_default()).collect()
    }

    /// Reads on until a line has this.
    fn hears(&mut self, part: &str) -> String {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = self.dev.stderr.read_line(&mut line).expect("text");
            assert!(read > 0, "it never says {part}: {said}");
            if line.contains(part) {
                return line;
            }
            said.push_str(&line);
        }
    }

    fn ends(&mut self) {
        signal(self.dev.child.id(), Signal::TERM);
        assert_eq!(self.dev.child.wait().expect("it ends").code(), Some(0));
        self.dev.assert_gone();
    }
}

/// The processes on the line of a host: its replicas, and its dockerd with its socket.
fn host(banner: &str, number: usize) -> (Vec<u32>, Option<(u32, PathBuf)>) {
    let line = value(banner, &format!("host-{number}"));
    let (replicas, engine) = line.split_once("; ").map_or((line, None), |(replicas, engine)| (replicas, Some(engine)));
    let numbers = |words: &str| words.split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<u32>>();
    let engine = engine.map(|words| {
        let (_, socket) = words.split_once(" at unix://").expect("a socket");
        (numbers(words)[0], PathBuf::from(socket))
    });
    (numbers(replicas), engine)
}

/// What an audit says that knows nothing but where Redis is.
fn audited(url: &str) -> Value {
    let output =
        startjobs().args(["audit", "--json", "--redis-url", url]).output().expect("the binary under test runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn the_jobs_of_a_simulated_host_that_dies_are_answered_by_the_others_exactly_once() {
    // Two replicas on the first host, one on each of the others.
    let mut fleet = Fleet::of(Dev::start_with(4, &["--hosts", "3"])).await;
    let hosts: Vec<Vec<u32>> = (1..=3).map(|number| host(&fleet.dev.banner, number).0).collect();
    assert_eq!(hosts, [vec![fleet.dev.pids[0], fleet.dev.pids[3]], vec![fleet.dev.pids[1]], vec![fleet.dev.pids[2]]]);
    for number in 0..24 {
        fleet.send(&format!("slow-{number}"), "sim/slow:4s").await;
    }
    fleet.eventually("the host has jobs", async |fleet: &Fleet| fleet.held_by(&hosts[0]).await > 2).await;
    for &pid in &hosts[0] {
        signal(pid, Signal::KILL);
    }
    let began = Instant::now();
    fleet.send("after", "galaxy/engine:1").await;
    let down = fleet.hears("host-1 is down, with ");
    assert!(down.contains("jobs under way; the other hosts take over after its heartbeat, 5s"), "{down}");
    fleet.all_answered().await;
    let audit = audited(&fleet.dev.url);
    assert_eq!((&audit["is_clean"], &audit["containers"]["engine"]), (&true.into(), &"simulated".into()), "{audit}");
    let limit = HEARTBEAT + fleet.settings.worker.claim_idle + Duration::from_secs(4 + 4);
    assert!(began.elapsed() < limit, "{:?}\n{}", began.elapsed(), fleet.logs());
    let answered = fleet.hears("that host-1 had under way");
    assert!(answered.contains(" after it went down"), "{answered}");

    // A host that is cut off comes back, and does jobs again.
    signal(hosts[1][0], Signal::STOP);
    fleet.hears("host-2 is down, with no job under way");
    signal(hosts[1][0], Signal::CONT);
    fleet.hears("host-2 is back after ");
    for number in 0..16 {
        fleet.send(&format!("again-{number}"), "sim/slow:300ms").await;
    }
    fleet.all_answered().await;
    fleet.ends();
}

/// A fleet on private engines that have [`GAME`]; none where there is no Docker.
async fn on_private_engines(hosts: usize) -> Option<Fleet> {
    let missing = ["dockerd", "ip"].into_iter().find(|program| find_program(program).is_none());
    if missing.is_some() || !geteuid().is_root() {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        assert!(!is_set("CI") && !is_set("STARTJOBS_REQUIRE_DOCKER"), "private engines are required here: {missing:?}");
        // Past the capture of a passing test's output.
        let line = format!("TEST LEFT OUT: no private engines: root is needed, and {missing:?}\n");
        drop(std::io::stderr().write_all(line.as_bytes()));
        return None;
    }
    let dev = Dev::start_with(hosts, &["--engine", "docker", "--hosts", &hosts.to_string()]);
    for number in 1..=hosts {
        let (_, engine) = host(&dev.banner, number);
        let program = Path::new(env!("CARGO_BIN_EXE_startjobs"));
        let changes = [r#"ENTRYPOINT ["/program","engine"]"#];
        Api::at(&engine.expect("an engine").1).import(GAME, &archive(&[("program", program)]), &changes);
    }
    Some(Fleet::of(dev).await)
}

/// The games that run on an engine.
fn games_on(socket: &Path) -> Vec<String> {
    let (_, body) = Api::at(socket).request("GET", "/containers/json", b"").expect("the engine answers");
    let listed: Vec<Value> = serde_json::from_str(&body).expect("a list");
    let names = listed.iter().filter_map(|container| container["Labels"]["rtm.game_id"].as_str());
    names.map(str::to_owned).collect()
}

/// Files, mounts, processes and bridges of a fleet in this temporary directory. Process ids alone tell nothing: a busy machine
/// uses them again within a minute.
fn remains_of(directory: &Path, bridges: &[String]) -> Vec<String> {
    let path = directory.to_str().expect("text");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("it is there");
    let mut left: Vec<String> = mounts.lines().filter(|line| line.contains(path)).map(str::to_owned).collect();
    for process in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let read = |file| std::fs::read(process.path().join(file)).unwrap_or_default();
        let (words, environment) = (read("cmdline"), read("environ"));
        if [&words, &environment].iter().any(|bytes| String::from_utf8_lossy(bytes).contains(path)) {
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            left.push(format!("{}: {words}", process.path().display()));
        }
    }
    left.extend(
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path().display().to_string()),
    );
    left.extend(bridges.iter().filter(|bridge| Path::new("/sys/class/net").join(bridge).exists()).cloned());
    left
}

/// The bridges that the engines below a directory were given.
fn bridges_of(sockets: &[PathBuf]) -> Vec<String> {
    let mut bridges = Vec::new();
    for socket in sockets {
        let (_, body) = Api::at(socket).request("GET", "/networks/bridge", b"").expect("the engine answers");
        let network: Value = serde_json::from_str(&body).expect("JSON");
        let name = network["Options"]["com.docker.network.bridge.name"].as_str().expect("a name");
        assert!(Path::new("/sys/class/net").join(name).exists(), "{name}");
        bridges.push(name.to_owned());
    }
    bridges
}

#[tokio::test]
async fn the_jobs_of_a_host_with_a_private_engine_that_dies_are_answered_by_the_others() {
    let Some(mut fleet) = on_private_engines(3).await else { return };
    let hosts: Vec<_> = (1..=3).map(|number| host(&fleet.dev.banner, number)).collect();
    let sockets: Vec<PathBuf> = hosts.iter().filter_map(|(_, engine)| Some(engine.as_ref()?.1.clone())).collect();
    let bridges = bridges_of(&sockets);
    for number in 0..18 {
        fleet.send(&format!("g-{number}"), GAME).await;
    }
    fleet.eventually("the host has jobs", async |fleet: &Fleet| fleet.held_by(&hosts[0].0).await > 0).await;
    let (replicas, engine) = &hosts[0];
    for pid in replicas.iter().copied().chain(engine.as_ref().map(|(pid, _)| *pid)) {
        signal(pid, Signal::KILL);
    }
    // Which of both ends is seen first is open, and the host is down with the first one.
    let said = fleet.hears("host-1");
    let then = fleet.hears("host-1");
    let both = [said, then].concat();
    assert!(both.contains("the dockerd of host-1 (pid ") && both.contains("host-1 is down, with "), "{both}");
    fleet.all_answered().await;
    // A job for each game again: what ran on the host that is dead is started elsewhere, and nothing runs on two of the others.
    for number in 0..18 {
        fleet.send(&format!("g-{number}"), GAME).await;
    }
    fleet.all_answered().await;
    let mut games: Vec<String> = sockets[1..].iter().flat_map(|socket| games_on(socket)).collect();
    games.sort();
    let mut expected: Vec<String> = (0..18).map(|number| format!("g-{number}")).collect();
    expected.sort();
    assert_eq!(games, expected, "{}", fleet.logs());
    // An audit that is told nothing but where Redis is finds the engines by what the hosts say, and names the dead one.
    let audit = audited(&fleet.dev.url);
    let seen: Vec<(&str, bool)> = audit["containers"]["engines"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|engine| (engine["host"].as_str().expect("a name"), engine["live"].is_u64()))
        .filter(|(host, _)| !host.is_empty())
        .collect();
    assert_eq!(seen, [("host-1", false), ("host-2", true), ("host-3", true)], "{audit}");
    assert_eq!(
        (&audit["containers"]["engine"], &audit["containers"]["live"]),
        (&"docker".into(), &18.into()),
        "{audit}"
    );
    assert_eq!(audit["is_clean"], true, "{audit}");

    // Also the containers that the killed engine left.
    let directory = fleet.dev.directory().to_owned();
    fleet.ends();
    assert_eq!(remains_of(&directory, &bridges), Vec::<String>::new());
}

/// Has the containerd of the engine behind this socket write its stacks, as a dockerd does that has waited too long for it.
async fn writes_its_stacks(socket: &Path) {
    let directory = socket.parent().expect("a directory");
    let pid = std::fs::read_to_string(directory.join("exec/containerd/containerd.pid")).expect("it runs");
    let pid: u32 = pid.trim().parse().expect("a number");
    signal(pid, Signal::USR1);
    let file = directory.join(format!("containerd.{pid}.stacks.log"));
    let began = Instant::now();
    while !file.exists() {
        assert!(began.elapsed() < PATIENCE, "there is no {}", file.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn nothing_of_private_engines_stays_behind_a_killed_process() {
    let Some(mut fleet) = on_private_engines(2).await else { return };
    let sockets: Vec<PathBuf> = (1..=2).map(|number| host(&fleet.dev.banner, number).1.expect("an engine").1).collect();
    let bridges = bridges_of(&sockets);
    for number in 0..6 {
        fleet.send(&format!("g-{number}"), GAME).await;
    }
    fleet.all_answered().await;
    writes_its_stacks(&sockets[0]).await;
    fleet.dev.child.kill().expect("it runs");
    fleet.dev.child.wait().expect("it ends");
    let directory = fleet.dev.directory().to_owned();
    let began = Instant::now();
    loop {
        let left = remains_of(&directory, &bridges);
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < 2 * PATIENCE, "{left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn more_hosts_than_replicas_are_refused() {
    let output = startjobs().args(["dev", "--hosts", "3", "--replicas", "2"]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("3 hosts need at least as many replicas"), "{said}");
}
