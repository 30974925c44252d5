//! What stops what: the engine, a sick or full host, the handler's store, an operator, the group, the drain. One place for all of it.

use tokio::time::Instant;

/// Where a replica is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// What runs may finish until then.
    Draining(Instant),
    /// Others have declared it dead: what it holds is theirs, and its name is spent.
    DeclaredDead,
}

/// What this replica has found of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// Nothing bad.
    Well,
    /// It has no room for another job. What is here already is answered all the same.
    Full,
    /// It fails the jobs of many lanes.
    Sick,
}

/// What this replica may do at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    phase: Phase,
    engine_is_up: bool,
    host: Host,
    store_is_up: bool,
    has_group: bool,
    /// Unknown until the first renewal, and until then nothing is taken.
    is_paused: Option<bool>,
}

impl Default for Gate {
    /// A replica that has just come up: the engine answers, the group is usable.
    fn default() -> Self {
        Self {
            phase: Phase::Running,
            engine_is_up: true,
            host: Host::Well,
            store_is_up: true,
            has_group: true,
            is_paused: None,
        }
    }
}

impl Gate {
    /// From now on nothing is taken, and what runs may finish until `deadline`.
    pub(crate) fn drain(&mut self, deadline: Instant) {
        self.phase = Phase::Draining(deadline);
    }

    /// The container engine answers, or does not.
    pub(crate) fn set_engine(&mut self, is_up: bool) {
        self.engine_is_up = is_up;
    }

    /// This is what is known of the host now.
    pub(crate) fn set_host(&mut self, host: Host) {
        self.host = host;
    }

    /// The handler's store takes writes, or does not. All replicas share it, so entries that are given back would help no one.
    pub(crate) fn set_store(&mut self, is_up: bool) {
        self.store_is_up = is_up;
    }

    /// The group is usable, or has to be made usable before anything is read or claimed.
    pub(crate) fn set_group(&mut self, is_usable: bool) {
        self.has_group = is_usable;
    }

    /// An operator pauses the fleet, or does not; answers what was known before.
    pub(crate) fn set_paused(&mut self, is_paused: bool) -> Option<bool> {
        self.is_paused.replace(is_paused)
    }

    /// Does an operator pause the fleet, as far as is known?
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused == Some(true)
    }

    /// What the others and operators are told of this replica: whether it takes entries, and whether it is paused.
    pub(crate) fn announced(&self) -> (bool, bool) {
        (self.takes_entries(), self.is_paused())
    }

    /// Others have declared this replica dead.
    pub(crate) fn declare_dead(&mut self) {
        self.phase = Phase::DeclaredDead;
    }

    /// Have others declared this replica dead?
    pub(crate) fn is_declared_dead(&self) -> bool {
        self.phase == Phase::DeclaredDead
    }

    /// Until when what runs may finish; nothing while the replica does not drain.
    pub(crate) fn drains_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Draining(deadline) => Some(deadline),
            Phase::Running | Phase::DeclaredDead => None,
        }
    }

    /// Does the replica run, and not drain?
    pub(crate) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Does the engine answer?
    pub(crate) fn engine_is_up(&self) -> bool {
        self.engine_is_up
    }

    /// What is known of the host?
    pub(crate) fn host(&self) -> Host {
        self.host
    }

    /// Is one job taken at a time, because the host is sick or full?
    pub(crate) fn tries_one(&self) -> bool {
        self.host != Host::Well
    }

    /// Does the handler's store take writes?
    pub(crate) fn store_is_up(&self) -> bool {
        self.store_is_up
    }

    /// Is the group usable?
    pub(crate) fn has_group(&self) -> bool {
        self.has_group
    }

    /// May entries be read and claimed?
    pub(crate) fn takes_entries(&self) -> bool {
        self.tries_entries() && !self.tries_one()
    }

    /// The same, if only one at a time: on a sick or full host with nothing else in hand.
    pub(crate) fn tries_entries(&self) -> bool {
        let is_usable = self.engine_is_up && self.store_is_up && self.has_group;
        self.is_running() && is_usable && self.is_paused == Some(false)
    }

    /// Is an entry that comes now kept, to be started here? What is not kept goes back for other replicas. A sick or
    /// full host keeps one that comes alone.
    pub(crate) fn keeps_entries(&self) -> bool {
        self.answers_cancelled() && !self.is_paused()
    }

    /// Is a cancelled job kept and answered here? A pause does not keep it from its answer: nothing is started for it.
    pub(crate) fn answers_cancelled(&self) -> bool {
        self.is_running() && self.engine_is_up
    }

    /// May what waits be started?
    pub(crate) fn starts(&self) -> bool {
        self.engine_is_up && self.store_is_up
    }

    /// Must a read that waits return at once, so that it brings nothing?
    pub(crate) fn ends_reads(&self) -> bool {
        !self.keeps_entries() || !self.store_is_up
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any state of the gate.
    pub(crate) fn any_gate() -> impl Strategy<Value = Gate> {
        let likely = || proptest::bool::weighted(0.8);
        (
            (likely(), likely(), likely(), likely()),
            prop_oneof![8 => Just(Host::Well), 1 => Just(Host::Full), 1 => Just(Host::Sick)],
            proptest::option::weighted(0.9, proptest::bool::weighted(0.2)),
        )
            .prop_map(|((is_running, engine_is_up, store_is_up, has_group), host, is_paused)| Gate {
                phase: if is_running { Phase::Running } else { Phase::Draining(Instant::now()) },
                engine_is_up,
                host,
                store_is_up,
                has_group,
                is_paused,
            })
    }

    proptest! {
        #[test]
        fn what_is_taken_is_kept_and_started_and_no_read_is_ended_for_it(gate in any_gate()) {
            prop_assert!(!gate.tries_entries() || (gate.keeps_entries() && gate.starts() && !gate.ends_reads()));
        }
    }

    #[test]
    fn nothing_is_taken_before_it_is_known_whether_an_operator_pauses_the_fleet() {
        let mut gate = Gate::default();
        assert!(!gate.takes_entries() && gate.keeps_entries());
        assert_eq!(gate.set_paused(false), None);
        assert!(gate.takes_entries());
    }
}
