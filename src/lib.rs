//! startjobs: a fleet of replicas that start game engine containers from a Redis stream, one outcome per job.

pub mod contract;
pub mod engine;
pub mod faults;
pub mod redis;
pub mod settings;
pub mod stream;
pub mod start;
pub mod worker;
pub mod observe;
pub mod ops;
pub mod cli;
pub mod embedded;
pub mod lobby;
pub mod metrics;
pub mod bench;
pub mod audit;
