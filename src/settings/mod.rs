//! Settings: everything an operator decides, validated as a whole before anything else runs.

// what settings there are
pub(crate) mod shape;
pub mod table;
// where their texts come from
mod file;
pub mod flags;
mod raw;
mod source;
// what the texts mean
mod redis_url;
mod url;
mod validate;
// what is wrong with them
mod report;
// for the fuzzer
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;

use std::net::SocketAddr;

use crate::engine::config as engine;
use crate::faults;
use crate::observe::config::LogFormat;
use crate::page::config as page;
use crate::policy::config as policy;
use crate::redis::config as redis;
use crate::start::config as start;
use crate::stream::config as stream;
use crate::worker::config as worker;

pub(crate) use raw::Origin;
pub use report::{Problem, Report};
pub use source::{Sources, Values};
pub use validate::{Loaded, ResolvedSetting};

/// Every setting, typed, complete and cross-checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach Redis.
    pub redis: redis::Config,
    /// The streams, the group and the keys beside them.
    pub stream: stream::Config,
    /// One replica's limits and rhythms.
    pub worker: worker::Config,
    /// Which engine starts containers, and how.
    pub engine: engine::Config,
    /// What a start is: where its record is, and what shows that it is ready.
    pub start: start::Config,
    /// Where the policy is: which images may run, and what their containers get.
    pub policy: policy::Config,
    /// What is refused or allowed beyond production use.
    pub faults: faults::Config,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where probes and metrics are served; none: nowhere.
    pub http_addr: Option<SocketAddr>,
    /// The page for people that is served there too.
    pub page: page::Config,
    /// Turns start-up warnings about data safety into errors.
    pub strict: bool,
}
