//! startjobs: a fleet of replicas that start game engine containers from a Redis stream, one outcome per job.
//!
//! How an entry moves through the code, and where each step is:
//!
//! ```text
//! runtime:start_jobs                                                     runtime:job_results
//!   │ stream::read, stream::claim                                                 ▲
//!   ▼                                                                             │
//! Delivery ─► Held ─► past ─► decode ─► handle ────────────────► Conclusion ─► settle
//!             worker  stream  starter   worker::work, start, engine   worker   stream (one script)
//! ```
//!
//! A module imports only what is above it in the list below, except that `settings` names the `config` of all of them;
//! `tests/it/tidy.rs` proves it. `docs/architecture.md` is the long form.

// which build this is
pub mod version;
// the wire: pure, uses no other module
pub mod contract;
// encrypted connections, to Redis and to a Docker Engine
pub(crate) mod tls;
// texts that are never printed, and what may be shown of a text that could hold one
pub mod secret;
// sizes and durations as people write them
pub(crate) mod quantity;
// the known name that is nearest to a mistyped one
pub(crate) mod nearest;
// files that settings name, read whole
pub(crate) mod files;
// one of a replica's slots, in the hands of an attempt
pub mod slot;
// places where a process can be made to die or stop, for tests
pub mod faults;
// traces: spans, and their way to a collector
pub mod telemetry;
// the only place that knows the Redis client
pub mod redis;
// the consumer group: every step an entry takes in Redis
pub mod stream;
// containers: Docker, or simulated
pub mod engine;
// which images may run, and what their containers get
pub mod policy;
// one game's engine container, started exactly once in effect
pub mod start;
// everything an operator decides, put together from the `config` of each module
pub mod settings;
// what a process counts
pub mod metrics;
// one replica
pub mod worker;
// start jobs as a kind of job, and a process that handles them
pub(crate) mod starter;
// probes, log lines, systemd
pub mod observe;
// the other side of the contract, as Lobby sees it
pub mod lobby;
// a fleet on this machine
pub mod embedded;
// what the fleet looks like, for operators
pub mod ops;
// the same for people, as a page
pub(crate) mod page;
// the proof that nothing was lost or answered twice
pub mod audit;
// the load generator
pub(crate) mod bench;
// the command line
pub mod cli;
// what takes foreign bytes apart, for the fuzzer
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
