//! The consumer group: every step an entry takes in Redis. Each step is one call, and the scripts are in
//! `scripts/`, put together by `lua`.

// the id of an entry, and its order
pub mod entry_id;
// the names of streams and group, and how what they hold is kept
pub(crate) mod config;
// every key, from one place
pub mod keys;
// the scripts, put together
pub(crate) mod lua;
// the group and its consumers: how a script is called
mod group;
// an entry as Redis hands it over
mod delivery;
// creating the group, and taking over from the legacy worker
pub mod adopt;
// new entries
pub(crate) mod read;
// entries of replicas that died, left or gave them back
pub mod claim;
// the payloads of entries that came by their ids
pub mod fetch;
// what is known about an entry before it is started
pub(crate) mod history;
// what a replica says about itself
pub mod presence;
// keeping what we hold
pub mod renew;
// counting service failures
pub(crate) mod failures;
// outcome, dead letter, ledger, acknowledgement and mirror in one step
pub mod settle;
// tidying
pub(crate) mod janitor;
// giving back what we will not start, and leaving
pub(crate) mod hand_back;
// handing over what replicas of another host must do
pub mod hand_over;
// entries as people are shown them
pub(crate) mod excerpt;
// the operator's side of the dead letters
pub mod dead_letters;
// an operator holds the whole fleet
pub(crate) mod pause;
// what operators want done with single jobs
pub(crate) mod mark;
// what operators want of one replica
pub(crate) mod drain;
// what a replica says of jobs that do not run
pub(crate) mod open;
// what happened, for operators
pub(crate) mod fleet_event;
// writing down what an operator has done
mod note;
// how long jobs took
pub(crate) mod latency;
// what was done, by minute and by hour
pub(crate) mod tally;
// what operators' commands have done, for the same
mod count;
// telling operators, and hearing what they want
pub(crate) mod tell;
// for the fuzzer
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;

pub use config::{Config, OutcomeFields};
pub(crate) use delivery::{Delivery, Origin};
pub use group::{Group, Member};
#[doc(hidden)]
pub use lua::script_texts;
