//! The exit codes that users script against.

/// Done, or drained.
pub(super) const DONE: u8 = 0;
/// Failed; for the worker: the drain deadline passed; for `send --wait`: the outcome is a failure.
pub(super) const FAILED: u8 = 1;
/// Wrong usage; the argument parser's own code.
pub(super) const USAGE: u8 = 2;
/// A threshold or accounting breach.
pub(super) const BREACH: u8 = 3;
/// Redis or the engine is unavailable.
pub(super) const UNAVAILABLE: u8 = 69;
/// `--wait` timed out.
pub(super) const TIMED_OUT: u8 = 75;
/// A setting, or what a setting points at, is wrong.
pub(super) const CONFIG: u8 = 78;
/// SIGHUP came twice.
pub(super) const HUNG_UP: u8 = 129;
/// SIGINT came twice.
pub(super) const INTERRUPTED: u8 = 130;
/// SIGTERM came twice.
pub(super) const TERMINATED: u8 = 143;
