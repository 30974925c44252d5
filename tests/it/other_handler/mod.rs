//! Another kind of job: the worker takes greetings from stream to outcome, and knows nothing of games and containers.
//!
//! The handler lives here alone. Each replica is a process of its own beside a real redis-server: this test binary, told to
//! run [`replica_process`] only.

// greetings as a kind of job
mod greeter;
// what the greeter keeps in Redis
pub mod book;
// a replica as a process of its own, and the settings it gets
mod process;
// a fleet of them, the sender's side, and what must hold at the end
pub mod hall;
// every kind of answer
mod answers;
// replicas that are killed, stopped and told to end; a Redis that is killed
mod deaths;
// an engine that is down, a store that refuses
mod breakers;

/// One replica; runs in a process of its own that [`process`] starts, until SIGTERM.
#[test]
#[ignore = "a replica of the other tests, not a test"]
fn replica_process() {
    process::main();
}
