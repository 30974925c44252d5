//! A process that ends with all its slots busy is noticed by its connection, however it ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use super::{AT_ONCE, Crew, Crewman, LONG, Load, NEVER_READY, on_every_server};
use crate::support::world::PATIENCE;

const SLOTS: usize = 8;

/// Replicas that never finish what they hold, with all their slots busy, and survivors under load.
struct Scene {
    crew: Crew,
    victims: Vec<Crewman>,
    /// What the victims hold.
    held: Vec<String>,
    load: Load,
}

impl Scene {
    async fn of(redis: RedisServer, victims: usize, survivors: usize) -> Self {
        let mut crew = Crew::on(redis, &[]).await;
        let victims: Vec<Crewman> = (0..victims).map(|_| crew.launch(&[NEVER_READY])).collect();
        crew.world.send_games("held", victims.len() * SLOTS).await;
        crew.world.held(victims.len() * SLOTS).await;
        let held = crew.world.sent.keys().cloned().collect();
        for _ in 0..survivors {
            crew.launch(&[]);
        }
        crew.all_heard().await;
        let load = Load::begin(&crew.world, "load", Duration::from_millis(30)).await;
        Self { crew, victims, held, load }
    }

    /// The survivors take over at once, and only the dead were declared dead. Answers the crew, and how many crashes were
    /// counted.
    async fn recovers(mut self, how: &str) -> (Crew, usize) {
        assert_eq!(self.crew.held_by(&self.crew.killed).await.len(), self.held.len(), "their slots were busy");
        let took = self.crew.taken_over(&self.held).await;
        println!("{how}: {} entries answered {took:?} after the death (claim idle {LONG:?})", self.held.len());
        assert!(took < AT_ONCE, "{took:?}\n{}", self.crew.world.logs());
        self.load.end(&mut self.crew.world).await;
        self.crew.ends_well().await;
        self.crew.none_learned_that_it_was_dead();
        let (counted, others) = self.crew.crashes(&self.held).await;
        assert!(others.is_empty(), "crashes were counted against {others:?}");
        (self.crew, counted)
    }
}

async fn one_replica_is_killed(redis: RedisServer) {
    let mut scene = Scene::of(redis, 1, 2).await;
    let victims = scene.victims.clone();
    scene.crew.kill(&victims).await;
    let (_, counted) = scene.recovers("SIGKILL").await;
    assert_eq!(counted, SLOTS, "one death, one crash each");
}

async fn two_replicas_are_killed_at_once(redis: RedisServer) {
    let mut scene = Scene::of(redis, 2, 3).await;
    let victims = scene.victims.clone();
    scene.crew.kill(&victims).await;
    scene.recovers("SIGKILL of two of five").await;
}

async fn all_replicas_but_one_are_killed_at_once(redis: RedisServer) {
    let mut scene = Scene::of(redis, 3, 1).await;
    let victims = scene.victims.clone();
    scene.crew.kill(&victims).await;
    scene.recovers("SIGKILL of three of four").await;
}

on_every_server! { one_replica_is_killed two_replicas_are_killed_at_once all_replicas_but_one_are_killed_at_once }

fn redis() -> RedisServer {
    RedisServer::start().expect("redis-server starts")
}

#[tokio::test]
async fn a_replica_aborts() {
    let mut scene = Scene::of(redis(), 1, 2).await;
    let victim = scene.victims[0];
    scene.crew.will_die(victim).await;
    scene.crew.world.signal(victim.number, Signal::ABORT);
    let end = scene.crew.world.ended(victim.number, PATIENCE).await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&end), Some(6), "{end}");
    scene.recovers("SIGABRT").await;
}

#[tokio::test]
async fn the_last_replica_dies_and_a_new_one_declares_it_dead() {
    let mut crew = Crew::on(redis(), &[]).await;
    let victim = crew.launch(&[NEVER_READY]);
    crew.world.send_games("held", SLOTS).await;
    crew.world.held(SLOTS).await;
    crew.all_heard().await;
    crew.kill(&[victim]).await;
    let held: Vec<String> = crew.world.sent.keys().cloned().collect();
    crew.launch(&[]);
    let took = crew.taken_over(&held).await;
    println!("a new replica took over {took:?} after its start");
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}

/// The only replica, of this process, which is to die, holds so many jobs when two others come; answers which.
async fn holds_before_others_come(crew: &mut Crew, pid: u32, jobs: usize) -> Vec<String> {
    crew.world.send_games("held", jobs).await;
    crew.world.held(jobs).await;
    let held = crew.world.sent.keys().cloned().collect();
    crew.heard(&std::iter::once(u64::from(pid)).collect()).await;
    crew.launch(&[]);
    crew.launch(&[]);
    crew.all_heard().await;
    let name = crew.name_of_pid(pid).await;
    crew.killed.insert(name);
    held
}

/// The fault injection says on stderr where it strikes; a stderr that cannot be written to makes a panic of it, in the task
/// that owns all of the replica's state. One slot is left free: the entry that is no job goes through it to its settling.
#[tokio::test]
async fn a_replica_panics() {
    let mut crew = Crew::on(redis(), &[]).await;
    let mut panicking = crew.fleet_of("exec WORKER \"$@\" 2>/dev/full", &[NEVER_READY, ("crash-at", "before_settle")]);
    panicking.start(&[]).expect("the script runs");
    let busy = SLOTS - 1;
    let held = holds_before_others_come(&mut crew, panicking.replica(0).process().id(), busy).await;
    // Which replica reads an entry is for Redis to say.
    let end = loop {
        crew.world.send_malformed().await;
        if let Some(end) = panicking.replica(0).process().wait_async(Duration::from_millis(100)).await {
            break end;
        }
    };
    assert_eq!(end.code(), Some(101), "not a panic: {end}\n{}", panicking.replica(0).log());
    let took = crew.taken_over(&held).await;
    println!("a panic: answered {took:?} after the death (claim idle {LONG:?})");
    assert!(took < AT_ONCE, "{took:?}\n{}", crew.world.logs());
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}

/// A memory cgroup of our own, of either version; removed with it.
struct Cgroup {
    folder: PathBuf,
    limit: &'static str,
    usage: &'static str,
    events: &'static str,
}

impl Cgroup {
    fn make() -> Result<Self, String> {
        let name = format!("startjobs-test-{}", std::process::id());
        let one = Path::new("/sys/fs/cgroup/memory");
        let (parent, limit, usage, events) = if one.exists() {
            (one, "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max", "memory.current", "memory.events")
        };
        let folder = parent.join(name);
        std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let cgroup = Self { folder, limit, usage, events };
        if cgroup.folder.join(limit).exists() {
            return Ok(cgroup);
        }
        Err(format!("no memory controller in {}", cgroup.folder.display()))
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }

    /// How many processes the kernel has killed here for memory.
    fn killed(&self) -> u64 {
        let events = self.read(self.events);
        events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .map_or(0, |count| count.parse().expect("a number"))
    }

    fn leave_room_for(&self, bytes: u64) {
        let used: u64 = self.read(self.usage).trim().parse().expect("a number");
        std::fs::write(self.folder.join(self.limit), (used + bytes).to_string()).expect("a limit above the usage");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The processes have ended; the kernel may need a moment to forget them.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[tokio::test]
async fn a_replica_is_killed_for_its_memory() {
    const MIB: u64 = 1 << 20;
    let cgroup = match Cgroup::make() {
        Ok(cgroup) => cgroup,
        Err(error) => {
            eprintln!("TEST LEFT OUT: it needs a memory cgroup of its own, as root: {error}");
            return;
        }
    };
    let mut crew = Crew::on(redis(), &[]).await;
    // The kernel chooses the replica, and not the process beside it that asks for more than there is.
    let join = format!("echo $$ > {}/cgroup.procs && echo 1000 > /proc/self/oom_score_adj", cgroup.folder.display());
    let mut fleet = crew.fleet_of(&format!("{join} && exec WORKER \"$@\""), &[NEVER_READY]);
    fleet.start(&[]).expect("the script runs");
    let held = holds_before_others_come(&mut crew, fleet.replica(0).process().id(), SLOTS).await;
    cgroup.leave_room_for(2 * MIB);
    let words = format!("echo $$ > {}/cgroup.procs && head -c 32M /dev/zero | tail -c 32M", cgroup.folder.display());
    let mut greedy = Command::new("sh").args(["-c", &words]).stdout(Stdio::null()).spawn().expect("sh runs");
    let end = fleet.replica(0).process().wait_async(PATIENCE).await.expect("it is killed");
    drop((greedy.kill(), greedy.wait()));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&end), Some(9), "{end}");
    assert!(cgroup.killed() > 0, "the kernel has killed no process for memory");
    let took = crew.taken_over(&held).await;
    println!("OOM kill: answered {took:?} after the death (claim idle {LONG:?})");
    assert!(took < AT_ONCE, "{took:?}\n{}", crew.world.logs());
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}

/// Forty replicas, three of which die at once.
#[tokio::test]
async fn three_of_forty_replicas_die_and_only_they_are_declared_dead() {
    let mut scene = Scene::of(redis(), 3, 37).await;
    let victims = scene.victims.clone();
    // Who was there when they died is judged by their last renewals.
    for &victim in &victims {
        scene.crew.renews(victim).await;
    }
    scene.crew.kill(&victims).await;
    let (_, counted) = scene.recovers("SIGKILL of three of forty").await;
    assert_eq!(counted, 3 * SLOTS, "one crash each");
}
