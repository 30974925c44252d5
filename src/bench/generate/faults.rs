//! Faults to order: replicas killed and stopped, Redis killed and started again. Only what the bench itself started.

use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use serde::Serialize;
use tokio::time::sleep;

use crate::bench::Error;
use crate::bench::observe::shared::Shared;
use crate::bench::rig::children::Children;
use crate::bench::rig::place::Place;
use crate::lobby::client::Lobby;
use crate::stream::entry_id::EntryId;

/// What is done, and how often.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// SIGKILL to one replica; another is started in its place.
    pub(crate) kill_every: Option<Duration>,
    /// SIGSTOP to one replica, for `pause_for`.
    pub(crate) pause_every: Option<Duration>,
    /// For so long: longer than claim idle, so that others take over what it holds.
    pub(crate) pause_for: Duration,
    /// SIGKILL to Redis, which is started again at once.
    pub(crate) restart_redis_every: Option<Duration>,
}

impl Faults {
    /// Is nothing done?
    pub(crate) fn are_none(&self) -> bool {
        self.kill_every.is_none() && self.pause_every.is_none() && self.restart_redis_every.is_none()
    }
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A replica was killed.
    Kill,
    /// A replica was stopped for a while.
    Pause,
    /// Redis was killed and started again.
    RestartRedis,
    /// A replica ended by itself, as jobs that kill their process make it do.
    Death,
}

impl Kind {
    /// In words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "replica killed",
            Self::Pause => "replica paused",
            Self::RestartRedis => "Redis restarted",
            Self::Death => "replica died of its job",
        }
    }
}

/// One fault.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// What.
    pub(crate) kind: Kind,
    /// When, from the beginning of the run.
    pub(crate) at: Duration,
    /// The entries the victim held; of Redis: all that were unanswered.
    pub(crate) held: Vec<EntryId>,
}

/// Does them when they are due.
#[derive(Debug)]
pub(crate) struct Chaos {
    faults: Faults,
    next: [Option<Duration>; 3],
    paused: Vec<(Duration, u32)>,
    rng: Rng,
    /// What has been done.
    pub(crate) done: Vec<Fault>,
}

/// How long a stopped process's last command may be under way.
const SETTLES_WITHIN: Duration = Duration::from_millis(20);

impl Chaos {
    /// Nothing done yet.
    pub(crate) fn new(faults: Faults, seed: u64) -> Self {
        let next = [faults.kill_every, faults.pause_every, faults.restart_redis_every];
        Self { faults, next, paused: Vec::new(), rng: Rng::with_seed(seed), done: Vec::new() }
    }

    /// Does what is due. New faults only until `until`, so that the run can come to rest; what is paused goes on.
    pub(crate) async fn act(
        &mut self,
        place: &mut Place,
        children: &mut Children,
        lobby: &Lobby,
        shared: &Shared,
        until: Duration,
    ) -> Result<(), Error> {
        let now = shared.now();
        self.resume(children, now);
        let mut due = [false; 3];
        let every = [self.faults.kill_every, self.faults.pause_every, self.faults.restart_redis_every];
        for ((due, next), every) in due.iter_mut().zip(&mut self.next).zip(every) {
            if let (Some(at), Some(every)) = (*next, every)
                && now >= at
                && now < until
            {
                *due = true;
                *next = Some(at + every);
            }
        }
        if due[0] {
            self.stop_one(children, lobby, shared, Kind::Kill).await?;
        }
        if due[1] {
            self.stop_one(children, lobby, shared, Kind::Pause).await?;
        }
        if due[2] {
            self.restart_redis(place, shared)?;
        }
        Ok(())
    }

    fn resume(&mut self, children: &mut Children, now: Duration) {
        self.paused.retain(|(until, pid)| {
            let over = now >= *until;
            if over && let Some(child) = children.living().iter().find(|child| child.process.id() == *pid) {
                child.process.signal(Signal::CONT);
            }
            !over
        });
    }

    /// Stops one replica, looks at what it holds, and kills it if that was asked for.
    async fn stop_one(
        &mut self,
        children: &mut Children,
        lobby: &Lobby,
        shared: &Shared,
        kind: Kind,
    ) -> Result<(), Error> {
        let candidates: Vec<u32> =
            children.ids().into_iter().filter(|pid| !self.paused.iter().any(|(_, paused)| paused == pid)).collect();
        let Some(pid) = self.rng.choice(candidates) else { return Ok(()) };
        let Some(position) = children.ids().iter().position(|id| *id == pid) else { return Ok(()) };
        children.living()[position].process.signal(Signal::STOP);
        sleep(SETTLES_WITHIN).await;
        let held = held_by(lobby, pid).await;
        let at = shared.now();
        if kind == Kind::Kill {
            children.kill(position);
            children.start()?;
        } else {
            self.paused.push((at + self.faults.pause_for, pid));
        }
        self.done.push(Fault { kind, at, held });
        Ok(())
    }

    fn restart_redis(&mut self, place: &mut Place, shared: &Shared) -> Result<(), Error> {
        let Some(server) = place.own_server() else { return Ok(()) };
        let at = shared.now();
        server.kill();
        let held = shared.books().unanswered();
        server.start_again()?;
        self.done.push(Fault { kind: Kind::RestartRedis, at, held });
        Ok(())
    }

    /// Nothing stays stopped.
    pub(crate) fn resume_all(&mut self, children: &mut Children) {
        self.resume(children, Duration::MAX);
    }
}

/// What is pending for the consumer of this process; nothing where Redis does not answer just now.
async fn held_by(lobby: &Lobby, pid: u32) -> Vec<EntryId> {
    let Ok(replicas) = lobby.replicas().await else { return Vec::new() };
    let Some(consumer) = replicas.into_iter().find(|(_, id)| *id == pid).map(|(consumer, _)| consumer) else {
        return Vec::new();
    };
    let pending = lobby.pending().await.unwrap_or_default();
    pending.into_iter().filter(|one| one.consumer == consumer).filter_map(|one| one.id.parse().ok()).collect()
}
