//! Replicas of two versions with one Redis and one engine.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use startjobs::embedded::fleet::{Fleet, FleetOptions};
use startjobs::stream::entry_id::EntryId;

use crate::support::dockerd::Dockerd;
use crate::support::replica_log::Log;
use crate::support::world::{Entry, FAST, World};

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(100);
/// The image of every game.
pub(super) const GAME: &str = "startjobs.test/game:1";
/// Another one.
const OTHER_GAME: &str = "startjobs.test/game:2";
/// What both versions are told. The reconcilers are eager: what one version does not recognise is removed at once.
const BOTH: &[(&str, &str)] = &[("reconcile-interval", "200ms"), ("reconcile-grace", "1s"), ("claim-idle", "1500ms")];
/// What only this version knows.
const THIS: &[(&str, &str)] = &[("host-heartbeat", "2s")];

/// Which version a replica is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// The one before.
    Before,
    /// This one.
    This,
}

/// One replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replica {
    version: Version,
    number: usize,
}

/// What a job has to be answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Due {
    /// Its game is new.
    Success,
    /// Its game runs.
    Replay,
    /// Its game runs another image.
    Conflict,
}

/// A container that must stay as it is: its id, and when it was started.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Running {
    id: String,
    since: String,
}

/// Both versions, and every job that was sent.
pub(super) struct TwoVersions {
    world: World,
    dockerd: Option<Dockerd>,
    before: Fleet,
    program: PathBuf,
    settings: Vec<(String, String)>,
    jobs: HashMap<String, (String, Due)>,
    games: BTreeMap<String, Running>,
    sent: usize,
}

impl TwoVersions {
    /// Of the binary that `STARTJOBS_OLD` names and the one under test; on the simulated engine, or on this one.
    pub(super) async fn new(dockerd: Option<Dockerd>) -> Self {
        let program = std::env::var_os("STARTJOBS_OLD").map(PathBuf::from);
        let program = program.expect("STARTJOBS_OLD names the binary of the version before: see deploy/upgrade.sh");
        let mut own = BOTH.to_vec();
        let host = dockerd.as_ref().map(Dockerd::host).unwrap_or_default();
        if dockerd.is_some() {
            own.extend([("engine", "docker"), ("docker-host", host.as_str())]);
        }
        let world = World::with(&own).await;
        let url = world.redis.url();
        let all = [FAST, own.as_slice(), &[("redis-url", url.as_str())]].concat();
        let pairs = all.into_iter();
        let settings: Vec<(String, String)> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let directory = world.directory.path().join("before");
        std::fs::create_dir(&directory).expect("the directory is ours");
        let before = Fleet::new(FleetOptions { program: program.clone(), directory, settings: settings.clone() });
        let (jobs, games) = (HashMap::new(), BTreeMap::new());
        Self { world, dockerd, before, program, settings, jobs, games, sent: 0 }
    }

    /// Starts a replica and waits until it works.
    pub(super) async fn start(&mut self, version: Version) -> Replica {
        let number = match version {
            Version::Before => self.before.start(&[]).expect("the binary of the version before runs"),
            Version::This => self.world.replica(THIS),
        };
        let replica = Replica { version, number };
        self.until("a replica works", |two| two.log(replica).count("start jobs consumer started") == 1).await;
        replica
    }

    /// Starts so many.
    pub(super) async fn start_all(&mut self, version: Version, count: usize) -> Vec<Replica> {
        let mut replicas = Vec::new();
        for _ in 0..count {
            replicas.push(self.start(version).await);
        }
        replicas
    }

    /// Sends jobs of new games, so many.
    pub(super) async fn send_new(&mut self, count: usize) {
        for _ in 0..count {
            let game = format!("game-{}", self.sent);
            self.sent += 1;
            let image = if self.dockerd.is_some() { GAME } else { "sim/slow:300ms" };
            self.send(&game, image, Due::Success).await;
        }
    }

    /// Sends a job for each game that runs, and for one of them a job with another image.
    pub(super) async fn send_again(&mut self) {
        let games: Vec<String> = self.games.keys().cloned().collect();
        for game in &games {
            let image = if self.dockerd.is_some() { GAME } else { "sim/slow:300ms" };
            self.send(game, image, Due::Replay).await;
        }
        if let Some(game) = games.first() {
            self.send(game, OTHER_GAME, Due::Conflict).await;
        }
    }

    async fn send(&mut self, game: &str, image: &str, due: Due) {
        let job = self.world.send(game, image).await;
        self.jobs.insert(job.to_string(), (game.to_owned(), due));
    }

    /// Sends jobs until this replica has one in hand.
    async fn load(&mut self, replica: Replica) {
        let pid = self.fleet(replica.version).replica(replica.number).process().id();
        let began = Instant::now();
        self.send_again().await;
        loop {
            self.send_new(1).await;
            let until = Instant::now() + Duration::from_millis(100);
            while Instant::now() < until {
                let pending = self.world.lobby.pending().await.unwrap_or_default();
                let replicas = self.world.lobby.replicas().await.unwrap_or_default();
                if pending.iter().any(|entry| replicas.get(&entry.consumer) == Some(&pid)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            assert!(began.elapsed() < PATIENCE, "{replica:?} takes nothing up\n{}", self.logs());
        }
    }

    /// One of another version takes the place of a replica that has jobs in hand; then everything is answered as it has to be.
    pub(super) async fn replace(&mut self, replica: Replica, version: Version) -> Replica {
        self.load(replica).await;
        self.drain(replica).await;
        let next = self.start(version).await;
        self.check().await;
        next
    }

    /// Stops a replica, which must drain.
    pub(super) async fn drain(&mut self, replica: Replica) {
        let process = self.fleet(replica.version).replica(replica.number).process();
        process.signal(Signal::TERM);
        let status = process.wait_async(PATIENCE).await;
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{replica:?}\n{}", self.logs());
    }

    /// Kills a replica that has jobs in hand.
    pub(super) async fn kill(&mut self, replica: Replica) {
        self.load(replica).await;
        self.fleet(replica.version).replica(replica.number).process().kill();
    }

    /// Waits until every job is answered, and looks at all of it: each was answered once and as it had to be, and every game
    /// has the container that it had before.
    pub(super) async fn check(&mut self) {
        let began = Instant::now();
        while !self.world.account().await.lost.is_empty() {
            let account = self.world.account().await;
            assert!(began.elapsed() < PATIENCE, "without an answer: {account:?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let account = self.world.account().await;
        assert!(account.is_exact(), "{account:?}\n{}", self.logs());
        let outcomes = self.world.entries("runtime:job_results").await;
        let of: HashMap<&str, &Entry> = outcomes.iter().map(|outcome| (outcome.get("source_ref"), outcome)).collect();
        let mut jobs: Vec<(EntryId, String, Due)> = std::mem::take(&mut self.jobs)
            .into_iter()
            .map(|(id, (game, due))| (id.parse().expect("an id"), game, due))
            .collect();
        jobs.sort_by_key(|(id, ..)| *id);
        for (id, game, due) in jobs {
            let outcome = of[id.to_string().as_str()];
            let code = outcome.get("error_code");
            match due {
                Due::Success => {
                    assert!(["", "replay_no_op"].contains(&code), "{outcome:?}\n{}", self.logs());
                    let running = self.running(&game).await;
                    assert_eq!(outcome.get("container_id"), running.id, "{outcome:?}\n{}", self.logs());
                    self.games.insert(game, running);
                }
                Due::Replay => {
                    assert_eq!(code, "replay_no_op", "{outcome:?}\n{}", self.logs());
                    let expected = self.games[&game].id.clone();
                    assert_eq!(outcome.get("container_id"), expected, "{outcome:?}\n{}", self.logs());
                }
                Due::Conflict => assert_eq!(code, "image_conflict", "{outcome:?}\n{}", self.logs()),
            }
        }
        for (game, running) in self.games.clone() {
            assert_eq!(self.running(&game).await, running, "{game}\n{}", self.logs());
        }
    }

    /// The one container of a game, which runs.
    async fn running(&mut self, game: &str) -> Running {
        let Some(dockerd) = &self.dockerd else {
            let log = self.world.sim_log().await;
            assert_eq!(log.created(game).len(), 1, "{game} was created again\n{}", self.logs());
            return Running { id: log.the_only_container(game).to_owned(), since: String::new() };
        };
        let mut listed = dockerd.list();
        listed.retain(|container| container["Labels"]["rtm.game_id"] == game);
        let [only] = listed.as_slice() else { panic!("containers of {game}: {listed:?}") };
        let id = only["Id"].as_str().expect("an id").to_owned();
        let (_, seen) = dockerd.request("GET", &format!("/containers/{id}/json"), b"").expect("the engine answers");
        let seen: Value = serde_json::from_str(&seen).expect("a description is JSON");
        assert_eq!(seen["State"]["Running"], true, "{game}: {seen}");
        Running { id, since: seen["State"]["StartedAt"].as_str().expect("a time").to_owned() }
    }

    /// The games that run.
    pub(super) fn games(&self) -> Vec<String> {
        self.games.keys().cloned().collect()
    }

    /// Ends a game's container behind the fleet's back. It is started anew by its next job.
    pub(super) fn end(&mut self, game: &str) {
        let running = self.games.remove(game).expect("the game runs");
        let dockerd = self.dockerd.as_ref().expect("a real engine");
        let (status, body) =
            dockerd.request("POST", &format!("/containers/{}/kill", running.id), b"").expect("the engine answers");
        assert_eq!(status, 204, "{game}: {body}");
    }

    /// Sends a job for a game that has ended.
    pub(super) async fn send_anew(&mut self, game: &str) {
        self.send(game, GAME, Due::Success).await;
    }

    /// The state in the game's record.
    pub(super) async fn state_of(&self, game: &str) -> String {
        let text = self.world.redis(&["GET", &format!("rtm:{{{game}}}:rec")]).await.as_string().expect("a record");
        let record: Value = serde_json::from_str(&text).expect("JSON");
        record["state"].as_str().expect("text").to_owned()
    }

    /// Both versions' commands read what is there, and find no violation.
    pub(super) fn audit(&mut self) {
        let environment: Vec<(String, String)> = self
            .settings
            .iter()
            .map(|(name, value)| (format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_")), value.clone()))
            .collect();
        for program in [self.program.clone(), PathBuf::from(env!("CARGO_BIN_EXE_startjobs"))] {
            for command in ["status", "replicas", "audit"] {
                let mut command_line = Command::new(&program);
                let output =
                    command_line.arg(command).env_clear().envs(environment.iter().cloned()).output().expect("it runs");
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let (errors, logs) = (String::from_utf8_lossy(&output.stderr).into_owned(), self.logs());
                assert!(output.status.success(), "{} {command}: {said}{errors}\n{logs}", program.display());
                assert!(command != "audit" || said.contains("No violation"), "{}: {said}", program.display());
            }
        }
    }

    /// Waits until something holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&mut Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < PATIENCE, "never came true: {what}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn fleet(&mut self, version: Version) -> &mut Fleet {
        match version {
            Version::Before => &mut self.before,
            Version::This => &mut self.world.fleet,
        }
    }

    fn log(&mut self, replica: Replica) -> Log {
        Log::new(&self.fleet(replica.version).replica(replica.number).log())
    }

    /// What all replicas have logged of late.
    pub(super) fn logs(&mut self) -> String {
        let mut all = String::new();
        for (number, replica) in self.before.replicas().enumerate() {
            let log = replica.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            all.extend(["--- version before, replica ", &number.to_string(), "\n", &tail, "\n"]);
        }
        all + &self.world.logs()
    }
}
