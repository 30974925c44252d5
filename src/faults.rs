//! Fault injection for tests and demonstrations: points where the process kills or stops itself on request.
//!
//! Off unless `allow-fault-injection` is set; the settings refuse `STARTJOBS_CRASH_AT` and `STARTJOBS_PAUSE_AT`
//! without it.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, getpid, kill_process};

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A point in the processing of an entry where the process can be made to die or stop.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point { $($(#[$doc])* $variant,)+ }

        impl Point {
            /// Every point, in the order an entry passes them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name used in the environment.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl FromStr for Point {
            type Err = UnknownPoint;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($name => Ok(Self::$variant),)+ _ => Err(UnknownPoint) }
            }
        }
    };
}

points! {
    /// The entry is delivered to this process; nothing else has happened.
    AfterRead = "after_read",
    /// The intent is in the game's record.
    AfterBegin = "after_begin",
    /// The image is missing; nothing has been asked of the registry.
    BeforePull = "before_pull",
    /// The registry has begun to answer.
    InPull = "in_pull",
    /// The image is there; nothing has been created.
    BeforeCreate = "before_create",
    /// The container exists and has not been started.
    AfterCreate = "after_create",
    /// The container runs.
    AfterStart = "after_start",
    /// The game engine answers.
    AfterReady = "after_ready",
    /// The result is known and not recorded.
    BeforeCommit = "before_commit",
    /// The result is recorded and not published.
    AfterCommit = "after_commit",
    /// A container is to be removed; the record does not name it yet.
    BeforeCondemn = "before_condemn",
    /// The record names the container to be removed; it still exists.
    AfterCondemn = "after_condemn",
    /// The outcome is known and not published.
    BeforeSettle = "before_settle",
    /// The outcome is published and the entry acknowledged.
    AfterSettle = "after_settle",
}

/// The text names no point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown crash point")]
pub struct UnknownPoint;

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Fault injection. Both points are refused unless it is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `STARTJOBS_CRASH_AT`: the process kills itself when it reaches this point.
    pub crash_at: Option<Point>,
    /// `STARTJOBS_PAUSE_AT`: the process stops itself there, once.
    pub(crate) pause_at: Option<Point>,
}

/// The faults that are injected into this process.
#[derive(Debug, Default)]
pub struct Faults {
    settings: Config,
    paused: AtomicBool,
}

impl Faults {
    /// Faults as the settings ask for them.
    pub(crate) fn new(settings: Config) -> Self {
        Self { settings, paused: AtomicBool::new(false) }
    }

    /// Marks that the process is at `point`: it dies or stops here if that was asked for. It stops once only. After
    /// SIGCONT it goes on from here, and is a zombie if that took longer than claim-idle.
    pub(crate) fn reach(&self, point: Point) {
        if self.settings.crash_at == Some(point) {
            eprintln!("fault injection: dying at {point}");
            signal_self(Signal::KILL);
        }
        if self.settings.pause_at == Some(point) && !self.paused.swap(true, Ordering::Relaxed) {
            eprintln!("fault injection: stopping at {point}");
            signal_self(Signal::STOP);
        }
    }
}

/// Sends a signal to this process; SIGKILL and SIGSTOP cannot be refused, so an error leaves nothing to do but abort.
pub(crate) fn signal_self(signal: Signal) {
    if kill_process(getpid(), signal).is_err() {
        std::process::abort();
    }
}
