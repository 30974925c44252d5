//! `startjobs dev --topology sentinel`: the fleet on a master with two replicas and three sentinels, and a failover under
//! load before the user's eyes. Afterwards everything runs on until Ctrl-C.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::drain::drain;
use super::words::{failed, say_no_redis};
use crate::cli::{exit, fleet_settings, output, process};
use crate::embedded::fleet::{Fleet, FleetOptions};
use crate::embedded::sentinels::{SERVICE, SentinelOptions, Sentinels};
use crate::embedded::site::Ground;
use crate::lobby::accounting::{Account, Sent};
use crate::lobby::client::Lobby;
use crate::redis::commands::Order;
use crate::redis::{Master, RedisError};
use crate::settings::Settings;

/// How long servers, sentinels and the fleet may take to come up, and later a failover or the last answers.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Between two jobs of the load, and how long it lasts before the kill and after the failover.
const SEND_INTERVAL: Duration = Duration::from_millis(20);
const LOAD_LASTS: Duration = Duration::from_secs(3);
/// Entries in one page of the jobs stream.
const PAGE: u64 = 1_000;

/// All that runs.
struct Stage {
    /// `redis-url`
    url: String,
    sentinels: Sentinels,
    fleet: Fleet,
    lobby: Lobby,
    settings: Settings,
    masters: watch::Receiver<Option<Master>>,
}

/// Runs it until Ctrl-C.
pub(super) async fn dev(replicas: u16) -> Result<u8, u8> {
    let mut stops = process::Stops::listen().map_err(|error| failed("cannot listen for signals", &error))?;
    let ground = Ground::open("dev").map_err(|error| failed("cannot prepare a directory", &error))?;
    let mut opened = None;
    let code = tokio::select! {
        code = show(&ground, replicas, &mut opened) => code,
        code = stops.next() => Ok(code),
    };
    if let Some(Stage { mut fleet, sentinels, .. }) = opened {
        eprintln!("startjobs: draining {replicas} replicas; once more Ctrl-C ends them at once");
        tokio::select! {
            _ = drain(&mut fleet) => {}
            _ = stops.next() => {}
        }
        drop(fleet);
        drop(sentinels);
    }
    ground.close().await;
    // Ctrl-C is how it is meant to end.
    code.map(|code| if code == exit::INTERRUPTED || code == exit::TERMINATED { exit::DONE } else { code })
}

async fn show(ground: &Ground, replicas: u16, opened: &mut Option<Stage>) -> Result<u8, u8> {
    eprintln!("startjobs: starting a master, two replicas of it and three sentinels");
    let stage = opened.insert(Stage::open(ground, replicas).await?);
    output::print(&stage.banner(ground, replicas));
    stage.fail_over().await.map_err(|error| {
        eprintln!("startjobs: Redis: {error}");
        exit::UNAVAILABLE
    })?;
    stage.watch().await
}

impl Stage {
    async fn open(ground: &Ground, replicas: u16) -> Result<Self, u8> {
        // Every user of the machine can connect to a port of loopback, so it takes a password.
        let words = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|word| word.simple().to_string());
        let password = words.concat();
        let password_file = ground.directory().join("password");
        std::fs::write(&password_file, &password).map_err(|error| failed("cannot write the password", &error))?;
        let options = SentinelOptions {
            parent: ground.directory().to_owned(),
            server: vec![
                format!("requirepass {password}"),
                format!("masterauth {password}"),
                "min-replicas-to-write 1".to_owned(),
                "min-replicas-max-lag 3".to_owned(),
            ],
            sentinel: vec![format!("requirepass {password}")],
            service: vec![format!("sentinel auth-pass {SERVICE} {password}")],
            ..SentinelOptions::new()
        };
        let sentinels = Sentinels::start(&options).map_err(|error| say_no_redis(&error))?;
        let url = sentinels.url_of("redis-sentinel", "", &sentinels.sentinel_ports());
        let file = password_file.to_string_lossy();
        let pairs = fleet_settings::pairs([
            ("redis-url", &url),
            ("redis-password-file", &file),
            ("redis-sentinel-password-file", &file),
            ("engine", "simulated"),
            ("log-format", "json"),
        ]);
        let settings = fleet_settings::settings_of(&pairs).map_err(|report| {
            eprintln!("startjobs: {report}");
            exit::FAILED
        })?;
        let unavailable = |error: RedisError| {
            eprintln!("startjobs: Redis: {error}");
            exit::UNAVAILABLE
        };
        let connecting = Lobby::connect_within(&settings.redis, &settings.stream, PATIENCE);
        let lobby = connecting.await.map_err(unavailable)?;
        await_replicas(&lobby).await.map_err(unavailable)?;
        let directory = ground.directory().to_owned();
        let mut fleet = Fleet::new(FleetOptions { program: ground.program().to_owned(), directory, settings: pairs });
        for _ in 0..replicas {
            fleet.start(&[]).map_err(|error| failed("cannot start a replica", &error))?;
        }
        let deadline = Instant::now() + PATIENCE;
        while lobby.replicas().await.unwrap_or_default().len() < replicas.into() && Instant::now() < deadline {
            sleep(LOOK_INTERVAL).await;
        }
        let masters = lobby.connection().masters();
        Ok(Self { url, sentinels, fleet, lobby, settings, masters })
    }

    fn master(&self) -> Option<Master> {
        self.masters.borrow().clone()
    }

    fn banner(&mut self, ground: &Ground, replicas: u16) -> String {
        let program = process::program_as_typed();
        let url = &self.url;
        let password = ground.directory().join("password").display().to_string();
        let master = self.master();
        let pid = master.and_then(|master| self.sentinels.server_at(master.at.port).map(|server| server.id()));
        let pid = pid.map_or_else(String::new, |pid| pid.to_string());
        let pids: Vec<String> = self.fleet.replicas().map(|replica| replica.process().id().to_string()).collect();
        let logs = ground.directory().join("replica-*.log").display().to_string();
        let facts = [
            ("  redis", url.clone()),
            ("  master", format!("pid {pid}")),
            ("  logs", logs),
            ("  pids", pids.join(" ")),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        format!(
            "{replicas} replicas are running on a master with two replicas and three sentinels.\n{}\nIn another terminal:\n  \
             export STARTJOBS_REDIS_URL={url}\n  export STARTJOBS_REDIS_PASSWORD_FILE={password}\n  \
             export STARTJOBS_REDIS_SENTINEL_PASSWORD_FILE={password}\n  {program} doctor; {program} status; {program} audit\n  \
             {program} send --image galaxy/engine:1 --wait --game g1\n\n\
             In a moment jobs are sent and the master is killed. Ctrl-C stops and removes everything.\n",
            output::aligned(&facts),
        )
    }

    /// Sends jobs, kills the master while they run, and says what became of them.
    async fn fail_over(&mut self) -> Result<(), RedisError> {
        let mut sent = HashMap::new();
        self.send(&mut sent, Instant::now() + LOAD_LASTS).await;
        let Some(master) = self.master() else { return Ok(()) };
        let killed = Instant::now();
        if let Some(server) = self.sentinels.server_at(master.at.port) {
            eprintln!("startjobs: killing the master {master} (pid {}) after {} jobs", server.id(), sent.len());
            server.kill();
        }
        while self.master().as_ref() == Some(&master) && killed.elapsed() < PATIENCE {
            self.send(&mut sent, Instant::now() + LOOK_INTERVAL).await;
        }
        self.say_master(killed.elapsed());
        self.send(&mut sent, Instant::now() + LOAD_LASTS).await;
        if let Some(server) = self.sentinels.server_at(master.at.port)
            && server.start_again().is_ok()
        {
            eprintln!("startjobs: {master} runs again, and becomes a replica");
        }
        let account = self.account(&mut sent).await?;
        eprint!("{}", told(&account));
        Ok(())
    }

    /// Sends a job every few milliseconds. One whose answer is lost may have been taken: it is found in the stream later.
    async fn send(&self, sent: &mut HashMap<String, Sent>, until: Instant) {
        while Instant::now() < until {
            let game = format!("load-{}", uuid::Uuid::new_v4().simple());
            let sending = self.lobby.append(&game, "galaxy/engine:1", 0);
            if let Ok(Ok(id)) = timeout(LOOK_INTERVAL, sending).await {
                sent.insert(id.to_string(), Sent::Job);
            }
            sleep(SEND_INTERVAL).await;
        }
    }

    /// Waits until every job that survived is answered.
    async fn account(&self, sent: &mut HashMap<String, Sent>) -> Result<Account, RedisError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let there = self.surviving().await?;
            let absent: HashSet<String> = sent.keys().filter(|id| !there.contains(*id)).cloned().collect();
            sent.extend(there.into_iter().map(|id| (id, Sent::Job)));
            let (outcomes, dead) = (self.lobby.all_outcomes().await?, self.lobby.all_dead().await?);
            let account = Account::draw_without(sent, &absent, &outcomes, &dead);
            if account.lost.is_empty() || Instant::now() > deadline {
                return Ok(account);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    async fn surviving(&self) -> Result<HashSet<String>, RedisError> {
        let (mut ids, mut first) = (HashSet::new(), "-".to_owned());
        loop {
            let jobs = &self.settings.stream.jobs;
            let page = self.lobby.connection().range(jobs, (&first, "+"), PAGE, Order::OldestFirst).await?;
            let Some(last) = page.last() else { return Ok(ids) };
            first = format!("({}", last.id);
            ids.extend(page.into_iter().map(|entry| entry.id));
        }
    }

    fn say_master(&self, after: Duration) {
        match self.master() {
            Some(master) => {
                let (seconds, epoch) = (after.as_secs_f64(), master.epoch);
                eprintln!(
                    "startjobs: {master} is the master after {seconds:.1} s (epoch {epoch}); the fleet goes on there"
                );
            }
            None => eprintln!("startjobs: the sentinels name no master"),
        }
    }

    /// Says who dies and who becomes the master; returns when nothing is left to watch.
    async fn watch(&mut self) -> Result<u8, u8> {
        let mut ended = HashSet::new();
        let mut began = Instant::now();
        self.masters.mark_unchanged();
        loop {
            tokio::select! {
                Ok(()) = self.masters.changed() => self.say_master(began.elapsed()),
                () = sleep(LOOK_INTERVAL) => {}
            }
            for server in self.sentinels.servers() {
                if server.has_ended() && ended.insert(server.port()) {
                    began = Instant::now();
                    eprintln!("startjobs: the server at port {} has ended and is not started again", server.port());
                }
            }
            if ended.len() == self.sentinels.server_ports().len() {
                eprintln!("startjobs: no server is left");
                return Ok(exit::UNAVAILABLE);
            }
        }
    }
}

/// Waits until the master has its replicas: until then it refuses writes.
async fn await_replicas(lobby: &Lobby) -> Result<(), RedisError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let info = lobby.connection().info().await?;
        if info.lines().any(|line| line.trim_end() == "min_slaves_good_slaves:2") {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(RedisError::unreachable("the replicas do not follow the master"));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// What is said of the account.
fn told(account: &Account) -> String {
    let answered: usize = account.outcomes.values().sum();
    let mut text = format!("startjobs: {} jobs sent, {answered} answered", account.sent);
    _ = write!(text, ", {} of them twice", account.answered_twice.len());
    _ = writeln!(text, ", {} lost by the fleet", account.lost.len());
    let lost = account.absent.len() + account.absent_answered;
    if lost > 0 {
        _ = writeln!(
            text,
            "startjobs: Redis lost {lost} that it had acknowledged, because they were on no replica; {} were answered all the same",
            account.absent_answered
        );
    }
    text
}
