//! `startjobs dead`: dead letters, looked at, put back or removed.

// the subcommands and their flags
pub(super) mod command;
// which dead letters a command is about
mod select;
// list, show, export
mod read;
// requeue, remove
mod act;
// foreign bytes as text for a terminal
mod text;
// the same without loss
mod json;

pub(super) use json::outline;
