//! startjobs: a fleet of replicas that start game engine containers from a Redis stream, one outcome per job.

pub mod audit;
pub mod bench;
pub mod cli;
pub mod contract;
pub mod embedded;
pub mod engine;
pub mod faults;
pub mod lobby;
pub mod metrics;
pub mod observe;
pub mod ops;
pub mod redis;
pub mod settings;
pub mod start;
pub mod stream;
pub mod worker;
