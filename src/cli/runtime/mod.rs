//! `startjobs runtime`: games and the hosts that they run on.

// the subcommands and their flags
pub(super) mod command;
// which games are where
mod list;
// one game
mod show;
// what a container of an image would get
mod explain;
// the hosts
mod hosts;
// an operator stops a game
mod stop;
// every host pulls an image
mod pull;
// an operator gives up a host
mod evict;
// what keeping the records true would change
mod dry_run;
