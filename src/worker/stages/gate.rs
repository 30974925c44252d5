//! What stops what: the engine, the handler's store, an operator, the group, the drain. One place for all of it.

use tokio::time::Instant;

/// What this replica may do at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    drains_until: Option<Instant>,
    engine_is_up: bool,
    store_is_up: bool,
    has_group: bool,
    /// Unknown until the first renewal, and until then nothing is taken.
    is_paused: Option<bool>,
}

impl Default for Gate {
    /// A replica that has just come up: the engine answers, the group is usable.
    fn default() -> Self {
        Self { drains_until: None, engine_is_up: true, store_is_up: true, has_group: true, is_paused: None }
    }
}

impl Gate {
    /// From now on nothing is taken, and what runs may finish until `deadline`.
    pub(crate) fn drain(&mut self, deadline: Instant) {
        self.drains_until = Some(deadline);
    }

    /// The container engine answers, or does not.
    pub(crate) fn set_engine(&mut self, is_up: bool) {
        self.engine_is_up = is_up;
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

    /// Until when what runs may finish; nothing while the replica does not drain.
    pub(crate) fn drains_until(&self) -> Option<Instant> {
        self.drains_until
    }

    /// Does the replica run, and not drain?
    pub(crate) fn is_running(&self) -> bool {
        self.drains_until.is_none()
    }

    /// Does the engine answer?
    pub(crate) fn engine_is_up(&self) -> bool {
        self.engine_is_up
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
        self.is_running() && self.engine_is_up && self.store_is_up && self.has_group && self.is_paused == Some(false)
    }

    /// Is an entry that comes now kept, to be started here? What is not kept goes back for other replicas.
    pub(crate) fn keeps_entries(&self) -> bool {
        self.is_running() && self.engine_is_up && self.is_paused != Some(true)
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
        (likely(), likely(), likely(), likely(), proptest::option::weighted(0.9, proptest::bool::weighted(0.2)))
            .prop_map(|(is_running, engine_is_up, store_is_up, has_group, is_paused)| Gate {
                drains_until: (!is_running).then(Instant::now),
                engine_is_up,
                store_is_up,
                has_group,
                is_paused,
            })
    }

    proptest! {
        #[test]
        fn what_is_taken_is_kept_and_started_and_no_read_is_ended_for_it(gate in any_gate()) {
            prop_assert!(!gate.takes_entries() || (gate.keeps_entries() && gate.starts() && !gate.ends_reads()));
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
