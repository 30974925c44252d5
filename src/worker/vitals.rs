//! Whether this process lives and is ready: written by the loop, read by probes and by systemd's watchdog.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::config::Config;

/// The signs of life of one process.
#[derive(Debug)]
pub struct Vitals {
    /// The loop turns at least this often, because renewal is due more often than that.
    loop_limit: Duration,
    signs: Mutex<Signs>,
}

#[derive(Debug)]
struct Signs {
    has_started: bool,
    is_draining: bool,
    loop_turned: Instant,
    read_is_overdue: bool,
    wedged: Option<&'static str>,
    troubles: BTreeMap<&'static str, String>,
}

/// The answer to a readiness probe.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Readiness {
    /// Takes work, as far as it knows.
    pub(crate) ready: bool,
    /// What keeps it from it, by name; empty when ready.
    pub(crate) failing: BTreeMap<&'static str, String>,
}

impl Vitals {
    /// A process that is about to start.
    pub(crate) fn new(config: &Config) -> Self {
        let signs = Signs {
            has_started: false,
            is_draining: false,
            loop_turned: Instant::now(),
            read_is_overdue: false,
            wedged: None,
            troubles: BTreeMap::new(),
        };
        Self {
            loop_limit: config.claim_idle.max(config.block * 3).max(Duration::from_secs(10)),
            signs: Mutex::new(signs),
        }
    }

    /// The replica is running.
    pub fn started(&self) {
        self.lock().has_started = true;
    }

    /// The replica comes up anew: there is no loop, only waiting.
    pub(super) fn starting(&self) {
        self.lock().has_started = false;
    }

    /// The replica finishes what it has.
    pub(crate) fn draining(&self) {
        self.lock().is_draining = true;
    }

    /// The loop has turned; whether its blocking read is overdue.
    pub fn turned(&self, read_is_overdue: bool) {
        let mut signs = self.lock();
        signs.loop_turned = Instant::now();
        signs.read_is_overdue = read_is_overdue;
    }

    /// Why this process cannot recover by itself; nothing once it has all the same.
    pub(super) fn wedged(&self, reason: Option<&'static str>) {
        self.lock().wedged = reason;
    }

    pub(super) fn trouble_began(&self, trouble: &'static str, err: &str) {
        self.lock().troubles.insert(trouble, err.to_owned());
    }

    pub(super) fn trouble_ended(&self, trouble: &'static str) {
        self.lock().troubles.remove(trouble);
    }

    /// Do our loops move? Never a question about Redis or the engine: restarting us would not help them.
    pub(crate) fn is_live(&self) -> bool {
        self.liveness().is_ok()
    }

    /// The same; the error is what a restart would mend.
    pub(crate) fn liveness(&self) -> Result<(), &'static str> {
        let signs = self.lock();
        // Before the replica runs there is no loop, only waiting.
        if !signs.has_started {
            return Ok(());
        }
        if signs.loop_turned.elapsed() >= self.loop_limit {
            return Err("the loop hangs");
        }
        if signs.read_is_overdue {
            return Err("the blocking read does not return");
        }
        signs.wedged.map_or(Ok(()), Err)
    }

    /// Has the replica come up once?
    pub(crate) fn has_started(&self) -> bool {
        self.lock().has_started
    }

    /// Would work that arrives now be taken and finished here?
    pub(crate) fn readiness(&self) -> Readiness {
        let signs = self.lock();
        let mut failing = signs.troubles.clone();
        if !signs.has_started {
            failing.insert("start", "not started yet".to_owned());
        }
        if signs.is_draining {
            failing.insert("drain", "draining".to_owned());
        }
        Readiness { ready: failing.is_empty(), failing }
    }

    fn lock(&self) -> MutexGuard<'_, Signs> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
