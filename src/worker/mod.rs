//! One replica: what it holds, what it does next, and how it ends.
//!
//! One task owns all state. It waits for the next event, applies it without awaiting anything, and then starts
//! whatever has become possible; everything that takes time is a future that answers with an event.

// limits and rhythms
pub mod config;
// back-off schedules; pure
pub mod backoff;
// how many entries the next read asks for; pure
pub mod appetite;
// the server's clock
pub mod clock;
// the entries this process holds; pure
pub mod holdings;
// entries that are pending for us although we do not hold them; pure
pub mod strays;
// which held entry may start next: one at a time per game; pure
pub mod games;
// one entry's stay in the start stage
pub mod work;
// conditions that are said when they begin, at a slow pace, and when they end
pub mod conditions;
// signs of life
pub mod vitals;
// what the loop waits for
mod events;
// the loop: its state, and what it waits for
pub mod replica;
// the loop: what each event changes
mod apply;
// the loop: what the events of its upkeep change
mod upkeep;
// the loop: taking over what others left
mod sweeps;
// the loop: whether our own connections are what fails
mod doubt;
// the loop: what fails for everybody, and how it is noticed to be well again
mod breakers;
// the loop: what is started next
mod pump;
// wiring: from settings to a running replica
pub mod run;

pub use config::Config;

/// The value of the original worker's `worker` log field.
pub const WORKER: &str = "rtmanager.startjobs";
