//! The other side of the contract: appending start jobs and following them to their outcomes, as Lobby does.
//!
//! For `send`, the demonstration and the tests. Shares no code with the settle path, so that what it counts is what a
//! reader of the streams sees.

// the two streams, from Lobby's side
pub mod client;
// what was sent against what came back; pure
pub mod accounting;
