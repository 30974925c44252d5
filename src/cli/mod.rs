//! The command line: one file or folder per command, each with its flags as a type; `main` only hands over the
//! arguments.

// every command, and which of them is run
mod tree;
// the replica
mod worker;
// does it live?
mod probe;
// one job by hand, or many of a file
mod send;
mod send_file;
// was anything lost, was anything answered twice?
mod audit;
// dead letters
mod dead;
// how the fleet is doing
mod alerts;
mod bundle;
mod check;
mod doctor;
mod history;
mod inspect;
mod jobs;
mod pending;
mod replicas;
mod status;
// the fleet on a whole terminal
mod dash;
// games and hosts
mod runtime;
// what is to become of one job
mod cancel;
mod retry_now;
// an operator holds the fleet, or ends one replica
mod drain;
mod pause;
// a fleet on this machine
mod demo;
mod dev;
// a fleet under load
mod bench;
// the settings as they apply
mod config;
// which images may run
mod policy;
// the demonstration's game engine
mod engine;
// for shells and readers
mod completions;
pub mod man;
// settings as flags, and those of replicas on this machine
mod fleet_settings;
mod setting_flags;
// a question on a terminal
mod confirm;
// a connection to a fleet, with a limit for every answer
mod session;
// the user's Docker Engine
mod users_docker;
// what is printed
mod output;
// in the width of the terminal
mod wrap;
// the process: runtime, signals, exit codes
mod exit;
mod process;

pub use tree::{command, run};
