//! The ground of a run: Redis as the bench speaks it, where the run lives, and the processes under load.

// Redis as the bench speaks it: where it is, and a bare connection
pub mod target;
pub mod wire;
// the wall clock
pub mod clock;
// where a run lives: a redis-server, a directory, names of its own
pub mod place;
// the processes under load
pub mod children;
// what is measured instead of the whole worker: a bare client, a no-op start service
pub mod floor;
pub mod noop;
