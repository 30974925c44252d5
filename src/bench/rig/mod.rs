//! The ground of a run: Redis as the bench speaks it, where the run lives, and the processes under load.

// Redis as the bench speaks it: where it is, and a bare connection
pub(crate) mod target;
pub(crate) mod wire;
// the wall clock
pub(crate) mod clock;
// where a run lives: a redis-server, a directory, names of its own
pub(crate) mod place;
// the processes under load
pub(crate) mod children;
// what is measured instead of the whole worker: a bare client, a no-op start service
pub(crate) mod floor;
pub(crate) mod noop;
