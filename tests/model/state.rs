//! What the model knows of Redis, of the engines and of the replicas at one moment.
//!
//! Entries, games, hosts and replicas are numbers. Entry 0 is the oldest; a place in the stream is the number of entries before
//! it, so a mirror of 2 says that the entries 0 and 1 are settled.

#![expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]

/// How many of each there may be at most. A model uses as many as its protocol says.
pub(crate) const ENTRIES: usize = 3;
pub(crate) const REPLICAS: usize = 3;
pub(crate) const GAMES: usize = 2;
pub(crate) const HOSTS: usize = 2;
/// How often a replica may come up, each time under another consumer name.
pub(crate) const LIVES: usize = 4;
pub(crate) const NAMES: usize = REPLICAS * LIVES;

/// A consumer name: that of replica `name % REPLICAS` in its life `name / REPLICAS`.
pub(crate) type Name = u8;
pub(crate) const NOBODY: Name = u8::MAX;
/// A container's id.
pub(crate) type Id = u8;
pub(crate) const NO_CONTAINER: Id = 0;
/// A record that names no host.
pub(crate) const ANY_HOST: u8 = u8::MAX;

/// What a job is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    #[default]
    None,
    Success(Id),
    Failure,
    Cancelled,
}

/// One entry of the jobs stream, and everything that Redis keeps about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    /// The stream has it.
    pub(crate) exists: bool,
    /// For whom it is pending.
    pub(crate) owner: Name,
    /// Its idle time says that it was given back.
    pub(crate) given_back: bool,
    /// The ledger has it.
    pub(crate) ledger: bool,
    /// Outcomes of the fleet, two at most.
    pub(crate) outcomes: u8,
    /// The last one.
    pub(crate) answer: Answer,
    pub(crate) dead_letter: bool,
    /// The original worker has answered it.
    pub(crate) legacy: bool,
    /// The mark of an operator who wants it cancelled.
    pub(crate) cancel: bool,
    /// The answer that its game's record keeps.
    pub(crate) stored: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Presence {
    Absent,
    Running,
    /// Declared dead, because its subscription has ended.
    Dead,
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RecordState {
    Absent,
    Starting,
    Running,
    Failed,
    Stopped,
}

/// The record of a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) state: RecordState,
    pub(crate) fence: u8,
    pub(crate) owner: Name,
    /// The entry of the job.
    pub(crate) source: u8,
    /// The lease has not run out.
    pub(crate) lease: bool,
    pub(crate) container: Id,
    pub(crate) condemned: Id,
    pub(crate) host: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Redis {
    pub(crate) group: bool,
    /// How many entries the group has delivered.
    pub(crate) delivered: u8,
    pub(crate) mirror: u8,
    pub(crate) shadow: u8,
    pub(crate) verified: u8,
    pub(crate) entries: [Entry; ENTRIES],
    pub(crate) presence: [Presence; NAMES],
    pub(crate) records: [Record; GAMES],
    /// These hosts have not said for a heartbeat that they are alive.
    pub(crate) silent: [bool; HOSTS],
}

/// A container, with the labels that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Container {
    pub(crate) id: Id,
    pub(crate) fence: u8,
    pub(crate) owner: Name,
    pub(crate) source: u8,
    pub(crate) running: bool,
}

/// What a failed attempt has left on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Left {
    Nothing,
    /// This container was condemned, and is gone.
    Removed(Id),
    /// Something, or what cannot be told.
    Something,
}

/// What a replica does next with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Ask what is known of it.
    Lookup,
    /// Ask the record.
    Begin,
    /// Look whether the container of a stored answer runs.
    LookStored(Id),
    /// Look whether the container that the record names runs.
    LookRunning(Id),
    /// The job is for another host.
    Away(u8),
    /// Remove what the record condemns.
    RemoveFirst(Id),
    Find,
    Create,
    Start(Id),
    /// Wait until it is ready, and commit.
    Ready(Id),
    /// The game has failed: name its container as condemned.
    Condemn(Id),
    Remove(Id),
    CommitFailure,
    /// The engine has failed: look what it left.
    Leave,
    LeaveCondemn(Id),
    LeaveRemove(Id),
    LeaveRelease(Left),
    /// Another attempt has the game: look for what this one made.
    Fenced,
    RemoveOwn(Id),
    /// The job is cancelled: look for what earlier attempts made.
    GiveUp,
    Abandon(Id),
    RemoveAbandoned(Id),
    Answered(Answer),
    /// The ledger has it: acknowledge it.
    Known,
    /// Its payload is gone: write a dead letter.
    PayloadGone,
    /// Variants only: the first half of a settle that is no single step.
    Half(Answer),
}

impl Phase {
    /// Nothing has begun: the entry waits for its turn.
    pub(crate) fn is_waiting(self) -> bool {
        matches!(self, Self::Lookup | Self::Begin | Self::Away(_))
    }

    /// Only its settling is left.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Answered(_) | Self::Known | Self::PayloadGone | Self::Half(_))
    }
}

/// An entry in the hands of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) phase: Phase,
    pub(crate) fence: u8,
    /// The fence was checked for the engine call that comes next.
    pub(crate) checked: bool,
    /// The call has seen that this container does not run.
    pub(crate) seen_dead: Id,
    /// The call has found the record's host dead.
    pub(crate) dead_host: bool,
    /// The dead replica that the entry was taken from.
    pub(crate) dead_owner: Name,
    /// The replica knows that it is to be cancelled.
    pub(crate) cancel: bool,
    /// It has made an engine call after another attempt had taken the fence.
    pub(crate) overtaken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Up,
    /// Stopped, or cut off from Redis.
    Stopped,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) life: Life,
    pub(crate) name: Name,
    /// Entries below this may have been delivered before.
    pub(crate) known: u8,
    /// What was placed anew while its host was away has to be removed first.
    pub(crate) must_clear: bool,
    pub(crate) attempts: [Option<Attempt>; ENTRIES],
}

/// What happened, as far as a property needs it and nothing else keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Past {
    /// A container was removed while the record said that the game runs in it.
    pub(crate) removed_running: bool,
    /// A record was committed by an attempt that did not hold it.
    pub(crate) overwritten: bool,
    pub(crate) fence_lowered: bool,
    /// An entry was taken from a replica that renews it.
    pub(crate) taken_from_living: bool,
    /// A job was answered by a replica while it was pending for another one.
    pub(crate) published_over: bool,
    /// An attempt made a second engine call after another one had taken the fence.
    pub(crate) went_on: bool,
    /// A settled entry came back and was asked of the start service again.
    pub(crate) asked_again: bool,
    /// Pending records were removed from outside.
    pub(crate) meddled: bool,
    /// The host was taken for dead.
    pub(crate) was_silent: [bool; HOSTS],
}

/// What may still happen to a fleet, each so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A process ends.
    Crash,
    /// A process is stopped, or cut off from Redis, and goes on later.
    Stop,
    /// All connections of a living replica are closed for longer than the grace.
    Cut,
    /// A replica is asked to stop.
    Drain,
    /// A start takes longer than `max-run`.
    Slow,
    /// The answer to a call is lost.
    ReplyLost,
    EngineFails,
    GameFails,
    /// A container ends and is removed from outside.
    GameEnds,
    HandBack,
    /// XGROUP DESTROY.
    Destroy,
    /// XGROUP DELCONSUMER.
    DeleteConsumer,
    /// XGROUP SETID back.
    SetBack,
    /// A failover to a replica that lags.
    Failover,
    /// XDEL of a delivered entry.
    Delete,
    /// An operator cancels a job.
    Cancel,
    /// The original worker answers an entry while no replica runs.
    Legacy,
}

/// How many kinds of faults there are.
pub(crate) const FAULTS: usize = Fault::Legacy as usize + 1;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) redis: Redis,
    /// What a lagging replica of Redis has.
    pub(crate) lagging: Option<Box<Redis>>,
    pub(crate) engine: [[Option<Container>; GAMES]; HOSTS],
    /// What the reconciler of a host is about to remove.
    pub(crate) reaping: [[Id; GAMES]; HOSTS],
    pub(crate) next_id: Id,
    pub(crate) replicas: [Replica; REPLICAS],
    pub(crate) past: Past,
    pub(crate) left: [u8; FAULTS],
}

impl State {
    /// Nothing was read yet; the first `replicas` are up, and know the group.
    pub(crate) fn first(entries: usize, replicas: usize, left: [u8; FAULTS]) -> Self {
        let entry = |exists| Entry {
            exists,
            owner: NOBODY,
            given_back: false,
            ledger: false,
            outcomes: 0,
            answer: Answer::None,
            dead_letter: false,
            legacy: false,
            cancel: false,
            stored: Answer::None,
        };
        let record = Record {
            state: RecordState::Absent,
            fence: 0,
            owner: NOBODY,
            source: u8::MAX,
            lease: false,
            container: NO_CONTAINER,
            condemned: NO_CONTAINER,
            host: ANY_HOST,
        };
        let replica = |name: u8| Replica {
            life: if usize::from(name) < replicas { Life::Up } else { Life::Down },
            name,
            known: 0,
            must_clear: false,
            attempts: [None; ENTRIES],
        };
        let mut presence = [Presence::Absent; NAMES];
        presence[..replicas].fill(Presence::Running);
        Self {
            redis: Redis {
                group: true,
                delivered: 0,
                mirror: 0,
                shadow: 0,
                verified: 0,
                entries: [entry(entries > 0), entry(entries > 1), entry(entries > 2)],
                presence,
                records: [record; GAMES],
                silent: [false; HOSTS],
            },
            lagging: None,
            engine: [[None; GAMES]; HOSTS],
            reaping: [[NO_CONTAINER; GAMES]; HOSTS],
            next_id: 1,
            replicas: [replica(0), replica(1), replica(2)],
            past: Past::default(),
            left,
        }
    }

    pub(crate) fn may(&self, fault: Fault) -> bool {
        self.left[fault as usize] > 0
    }

    pub(crate) fn spend(&mut self, fault: Fault) {
        self.left[fault as usize] -= 1;
    }

    /// The process of this name is there and works.
    pub(crate) fn is_up(&self, name: Name) -> bool {
        self.replicas.iter().any(|replica| replica.name == name && replica.life == Life::Up)
    }

    pub(crate) fn attempt(&mut self, replica: usize, entry: usize) -> &mut Attempt {
        self.replicas[replica].attempts[entry].as_mut().expect("a step is of an entry that is held")
    }

    pub(crate) fn let_go(&mut self, replica: usize, entry: usize) {
        self.replicas[replica].attempts[entry] = None;
    }

    /// The engine of this host removes the container, if it has it.
    pub(crate) fn remove(&mut self, host: usize, game: usize, id: Id) {
        if self.engine[host][game].is_some_and(|container| container.id == id) {
            let record = &self.redis.records[game];
            self.past.removed_running |= record.state == RecordState::Running && record.container == id;
            self.engine[host][game] = None;
        }
    }
}
