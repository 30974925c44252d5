//! The stages of an entry in this process. Each owns its state and decides without I/O, clock or randomness of its own.
//!
//! A stage answers three questions. `next` gives the next command, if one can begin now. `wake` tells when `next` may
//! give one without anything else having happened. `returned` takes what a command came to, and answers what the loop has
//! to hand on. Commands become calls in [`super::calls`]; who hands what to whom is decided in [`super::replica`] alone.

// the moment a stage decides in
pub(crate) mod turn;
// one operation that repeats
pub(crate) mod timer;
// what stops what
pub(crate) mod gate;
// back-off schedules
pub(crate) mod backoff;
// the entries this process holds
pub(crate) mod held;
// what a stage wants done
pub(crate) mod command;
// reads and claim sweeps: how entries come in
pub(crate) mod intake;
// how many entries the next read asks for
pub(crate) mod appetite;
// what gives way to what at low and high rates
pub(crate) mod cadence;
// entries that are pending for us although we do not hold them
pub(crate) mod strays;
// what is known of an entry before it is accepted
pub(crate) mod lookups;
// the payloads of entries that came by their ids
pub(crate) mod payloads;
// one at a time per lane
pub(crate) mod lanes;
// waiting, running, backing off
pub(crate) mod starts;
// endings on their way into Redis
pub(crate) mod settler;
// entries that are given back
pub(crate) mod returns;
// renewal and presence
pub(crate) mod keeper;
// whether our own connections are what fails
pub(crate) mod doubt;
// probes, the group, the janitor, the reconciler
pub(crate) mod upkeep;
