//! `startjobs bench`: put a fleet under load and measure it.

// the command, its subcommands, and which is run
pub(super) mod command;
// what they share: flags, and how a measurement ends
mod flags;
mod outcome;
// a load over time
mod load;
// throughput
mod drain;
// latency against a bare client
mod latency;
// more and more replicas
mod scale;
// real containers
mod containers;
// what an idle fleet costs Redis
mod idle;
// kills, poison, rolling restarts
mod recovery;
// runs side by side
mod report;
// what is measured in a worker's place
pub(super) mod subject;
