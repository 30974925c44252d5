//! `startjobs dev`: a whole fleet on this machine, to try things on, until Ctrl-C.

// which hosts are up
mod hosts;
// the engines of the hosts
pub(super) mod engines;
// a failover before the user's eyes
mod sentinel;
// how it ends
mod drain;
// what is printed
pub(super) mod words;
// what only this program runs: the clean-up
mod clean_up;
// replicas, dockerds and Redis while they run
mod watch;
// the command
pub(super) mod command;
