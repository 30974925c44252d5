//! A host goes away in every way while jobs come, and returns.
//!
//! What is promised: every job has one outcome, games of the other hosts are answered as ever, the jobs that the host had in
//! hand are answered within its heartbeat and five seconds, and no game runs twice except on the host that is away: from when it
//! went until it has returned and cleared away what was placed anew. It clears before it starts anything.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::Value;
use startjobs::stream::entry_id::EntryId;

use super::{HOSTS, Hosts, PATIENCE, address_of, name_of, names};
use crate::support::dockerd::Dockerd;
use crate::support::proxy::{Network, Proxy};

/// The host that goes away.
const AWAY: usize = 0;
/// From when it went until the jobs that it had in hand are answered: the heartbeat and five seconds are promised, and a machine
/// that runs three engines beside other work may take three times as long.
const SETTLED_WITHIN: Duration = Duration::from_secs(3 * (3 + 5));
/// Room for the image, which takes a few tens of MiB, twice while it is imported.
const DISK_MIB: u32 = 600;

/// What happens to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// A replica is killed, and another one of the host lives.
    OneReplicaKilled,
    /// Its only replica is killed; engine and games live, and a replica comes later.
    ReplicaKilled,
    /// The engine is killed, its games run on until it is restarted.
    EngineKilled,
    /// The engine is stopped, and its games with it.
    EngineStopped,
    /// The engine answers nothing; its games run on.
    EngineFrozen,
    /// Its replica cannot reach Redis: connections are refused.
    CutOff,
    /// The same, without a word: connections stay open and carry nothing.
    CutOffSilently,
    /// Replica and engine go, and come again.
    Restarted,
    /// There is no room on its disk, and then there is.
    DiskFull,
}

impl Event {
    /// Whether its games are answered from there all the while.
    fn keeps_its_games(self) -> bool {
        matches!(self, Self::OneReplicaKilled | Self::DiskFull)
    }

    /// Whether its games go on running, and are still there when it returns.
    fn leaves_games_running(self) -> bool {
        matches!(self, Self::ReplicaKilled | Self::EngineFrozen | Self::CutOff | Self::CutOffSilently)
    }
}

macro_rules! at_each_event {
    ($($name:ident: $event:ident,)+) => {
        $(#[tokio::test]
        async fn $name() {
            Outage::runs(Event::$event).await;
        })+
    };
}

at_each_event! {
    a_replica_is_killed_and_another_one_of_its_host_goes_on: OneReplicaKilled,
    the_only_replica_of_a_host_is_killed: ReplicaKilled,
    the_engine_of_a_host_is_killed: EngineKilled,
    the_engine_of_a_host_is_stopped: EngineStopped,
    the_engine_of_a_host_freezes: EngineFrozen,
    a_host_is_cut_off_from_redis: CutOff,
    a_host_is_cut_off_from_redis_without_a_word: CutOffSilently,
    a_host_is_restarted: Restarted,
    the_disk_of_a_host_is_full: DiskFull,
}

/// Its last replica dies between the commit of a success and its publication.
#[tokio::test]
async fn a_success_that_a_dead_host_has_stored_is_started_on_another_one() {
    let Some(mut hosts) = Hosts::start().await else { return };
    let dies = hosts.working_on(AWAY, &[("crash-at", "after_commit")]).await;
    let games = names("stored", 1);
    let job = hosts.send(&games).await[0];
    hosts.world.killed(dies).await;
    assert_eq!(hosts.are(&games, "running", AWAY).await, games);
    hosts.working_on(AWAY + 1, &[]).await;
    hosts.answered().await;
    hosts.success(job, "").await;
    assert_eq!(hosts.are(&games, "running", AWAY + 1).await, games);
}

/// One host's outage.
struct Outage {
    hosts: Hosts,
    event: Event,
    proxy: Proxy,
    /// The replica that goes away.
    replica: usize,
    filler: Option<PathBuf>,
}

impl Outage {
    async fn runs(event: Event) {
        let make = |host| if host == AWAY { Dockerd::start_on_disk_of(DISK_MIB) } else { Dockerd::start() };
        let make = if event == Event::DiskFull { make } else { |_| Dockerd::start() };
        let retries = [("retry-min", "1s"), ("retry-max", "2s")];
        let Some(mut hosts) = Hosts::start_with(make, &retries).await else { return };
        let proxy = Proxy::start(hosts.world.redis.port());
        let replica = hosts.working_on(AWAY, &[("redis-url", &proxy.url())]).await;
        for host in 1..HOSTS {
            hosts.working_on(host, &[]).await;
        }
        if event == Event::OneReplicaKilled {
            hosts.working_on(AWAY, &[]).await;
        }
        let mut outage = Self { hosts, event, proxy, replica, filler: None };
        outage.happens().await;
    }

    async fn happens(&mut self) {
        let old = names("old", 12);
        self.hosts.send(&old).await;
        self.hosts.answered().await;
        let mut placed = Vec::new();
        for host in 0..HOSTS {
            placed.push(self.hosts.are(&old, "running", host).await);
        }
        println!("old games by host: {:?}", placed.iter().map(Vec::len).collect::<Vec<_>>());

        let (slow, in_hand) = self.has_jobs_in_hand().await;
        let (went, went_ms) = (Instant::now(), self.hosts.world.now_ms().await);
        self.goes();
        println!("gone after {:?}, with {in_hand:?} in hand", went.elapsed());
        // So many that a host which fails them is found sick before one of them has spent its budget there.
        let new = names("new", if self.event == Event::DiskFull { 24 } else { 8 });
        let new = self.hosts.send(&new).await;
        let again = self.hosts.send(&old).await;
        self.hosts.answered().await;
        println!("everything was answered {:?} after it went", went.elapsed());

        self.in_hand_were_settled(&slow, &in_hand, went_ms).await;
        for &job in &new {
            self.hosts.success(job, "").await;
        }
        for (game, &job) in old.iter().zip(&again) {
            let is_away = placed[AWAY].contains(game) && !self.event.keeps_its_games();
            let code = if is_away { "" } else { "replay_no_op" };
            let outcome = self.hosts.success(job, code).await;
            let is_there = outcome.get("engine_endpoint").contains(&address_of(AWAY));
            assert_eq!(is_there, placed[AWAY].contains(game) && !is_away, "{outcome:?}");
        }
        if !placed[AWAY].is_empty() {
            let slowest = self.slowest(&old, &placed[AWAY], &again, went_ms).await;
            println!("games of the host that is away were answered within {slowest:?}");
            assert!(slowest < SETTLED_WITHIN, "{slowest:?}\n{}", self.hosts.world.logs());
        }

        let (returned, returned_at) = (Instant::now(), SystemTime::now());
        self.returns();
        println!("returned after {:?}", returned.elapsed());
        self.is_cleared(returned_at).await;
        let took = self.hosts.becomes_true().await;
        println!("everything is true {took:?} after that");
        self.hosts.answered().await;
        self.hosts.world.settled().await;
        self.hosts.world.at_rest().await;
        self.hosts.no_endpoint_was_of_another_game(&[AWAY]).await;
        self.ran_twice_only_there(went, Instant::now());
    }

    /// Sends slow games until the host has some of them in hand. Answers all that were sent, and those.
    async fn has_jobs_in_hand(&mut self) -> (Vec<(String, EntryId)>, Vec<String>) {
        let mut sent = Vec::new();
        let began = Instant::now();
        for round in 0.. {
            let games = names(&format!("slow-{round}"), 6);
            sent.extend(games.iter().cloned().zip(self.hosts.send(&games).await));
            let looked = Instant::now();
            while looked.elapsed() < Duration::from_millis(700) {
                let all: Vec<String> = sent.iter().map(|(game, _)| game.clone()).collect();
                let in_hand = self.hosts.are(&all, "starting", AWAY).await;
                if in_hand.len() >= 2 {
                    return (sent, in_hand);
                }
            }
            assert!(began.elapsed() < PATIENCE, "the host takes nothing up\n{}", self.hosts.world.logs());
        }
        unreachable!("the loop has no end")
    }

    fn goes(&mut self) {
        match self.event {
            Event::OneReplicaKilled | Event::ReplicaKilled => self.kill_replica(),
            Event::EngineKilled => self.hosts.dockerds[AWAY].kill(),
            Event::EngineStopped => self.hosts.dockerds[AWAY].stop(),
            Event::EngineFrozen => self.hosts.dockerds[AWAY].freeze(),
            Event::CutOff => self.proxy.set(Network::Refused),
            Event::CutOffSilently => self.proxy.set(Network::HalfOpen),
            Event::Restarted => {
                self.kill_replica();
                self.hosts.dockerds[AWAY].stop();
            }
            Event::DiskFull => self.filler = Some(fill(&self.hosts.dockerds[AWAY])),
        }
    }

    fn returns(&mut self) {
        match self.event {
            Event::OneReplicaKilled | Event::ReplicaKilled => drop(self.hosts.replica_on(AWAY, &[])),
            Event::EngineKilled | Event::EngineStopped => self.hosts.dockerds[AWAY].restart(),
            Event::EngineFrozen => self.hosts.dockerds[AWAY].thaw(),
            // What was half open stays so.
            Event::CutOff | Event::CutOffSilently => {
                self.proxy.set(Network::Healthy);
                self.proxy.cut();
            }
            Event::Restarted => {
                self.hosts.dockerds[AWAY].restart();
                self.hosts.replica_on(AWAY, &[]);
            }
            Event::DiskFull => fs::remove_file(self.filler.take().expect("it is full")).expect("it is ours"),
        }
    }

    fn kill_replica(&mut self) {
        self.hosts.world.signal(self.replica, Signal::KILL);
    }

    async fn in_hand_were_settled(&mut self, slow: &[(String, EntryId)], in_hand: &[String], went_ms: u64) {
        let mut slowest = Duration::ZERO;
        for (game, job) in slow {
            let outcome = self.hosts.world.outcome(*job).await;
            assert_eq!(outcome.get("outcome"), "success", "{outcome:?}\n{}", self.hosts.world.logs());
            if in_hand.contains(game) {
                slowest = slowest.max(self.hosts.answered_after(*job, went_ms).await);
            }
        }
        println!("what it had in hand was answered within {slowest:?}");
        assert!(slowest < SETTLED_WITHIN, "{slowest:?}\n{}", self.hosts.world.logs());
    }

    async fn slowest(&self, games: &[String], of: &[String], jobs: &[EntryId], went_ms: u64) -> Duration {
        let mut slowest = Duration::ZERO;
        for (_, &job) in games.iter().zip(jobs).filter(|(game, _)| of.contains(game)) {
            slowest = slowest.max(self.hosts.answered_after(job, went_ms).await);
        }
        slowest
    }

    /// Sends games until the host has started one again, and checks that it had removed what was placed anew before.
    async fn is_cleared(&mut self, returned: SystemTime) {
        let began = Instant::now();
        for round in 0.. {
            let games = names(&format!("after-{round}"), 6);
            self.hosts.send(&games).await;
            self.hosts.answered().await;
            if !self.hosts.are(&games, "running", AWAY).await.is_empty() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "it starts nothing\n{}", self.hosts.world.logs());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("it starts games {:?} after it has returned", began.elapsed());
        self.cleared_first(returned).await;
        self.hosts
            .world
            .eventually("nothing that was placed anew is left", async |world| {
                let listed = self_listed(&self.hosts.dockerds[AWAY]);
                for (game, id) in listed {
                    let text = world.redis(&["GET", &format!("rtm:{{{game}}}:rec")]).await.as_string();
                    let record: Value = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
                    if record["host"] != name_of(AWAY).as_str() && record["container_id"] != id.as_str() {
                        return false;
                    }
                }
                true
            })
            .await;
    }

    /// What was placed anew while the host was away was removed there before it started anything. An engine that was frozen
    /// may do what it was asked before that, after it has returned: that is no start of a host that is back.
    async fn cleared_first(&mut self, returned: SystemTime) {
        let events = self.hosts.dockerds[AWAY].events();
        let since = returned.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos();
        let (mut created, mut first_started, mut last_removed) = (BTreeSet::new(), None, None);
        for event in &events {
            let at = event["timeNano"].as_u64().map(u128::from).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (id, game) = (text(&event["Actor"]["ID"]), text(&event["Actor"]["Attributes"]["rtm.game_id"]));
            if at < since {
                continue;
            }
            match event["Action"].as_str() {
                Some("create") => {
                    created.insert(id);
                    if game.starts_with("after") {
                        first_started.get_or_insert((at, game));
                    }
                }
                Some("destroy") if !created.contains(&id) && self.is_placed_elsewhere(&game).await => {
                    last_removed = Some((at, game));
                }
                _ => {}
            }
        }
        let first_started = first_started.expect("it has started a game");
        println!("removed at last: {last_removed:?}, created first: {first_started:?}");
        match last_removed {
            Some(last) => assert!(last < first_started, "{events:#?}\n{}", self.hosts.world.logs()),
            None => assert!(!self.event.leaves_games_running(), "{events:#?}"),
        }
    }

    async fn is_placed_elsewhere(&self, game: &str) -> bool {
        let record = self.hosts.record(game).await;
        record["host"] != name_of(AWAY).as_str()
    }

    /// A game may have run on the host that was away and on another one, from when it went until it had cleared; all else ran
    /// once.
    fn ran_twice_only_there(&self, went: Instant, cleared: Instant) {
        let overlaps = self.hosts.observer.overlaps();
        let games: BTreeSet<&str> = overlaps.iter().map(|overlap| overlap.game.as_str()).collect();
        println!("ran twice while the host was away: {games:?}");
        for overlap in &overlaps {
            let is_there = overlap.hosts.contains(&AWAY) && overlap.hosts != [AWAY, AWAY];
            let is_then = overlap.from >= went && overlap.until <= cleared;
            assert!(is_there && is_then && self.event.leaves_games_running(), "{overlap:?}");
        }
        assert!(self.hosts.observer.samples() > 3 * HOSTS, "the engines were hardly asked");
    }
}

/// Games and ids of all containers of an engine.
fn self_listed(dockerd: &Dockerd) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    dockerd.list().iter().map(|one| (text(&one["Labels"]["rtm.game_id"]), text(&one["Id"]))).collect()
}

/// Takes all the room that is left on the engine's disk, up to the last block.
fn fill(dockerd: &Dockerd) -> PathBuf {
    let path = dockerd.data_root().join("filler");
    let mut bytes = 1 << 20;
    let mut file = fs::File::create(&path).expect("the file is made while there is room");
    while bytes >= 512 {
        if file.write_all(&vec![1; bytes]).is_err() {
            bytes /= 2;
        }
    }
    path
}
