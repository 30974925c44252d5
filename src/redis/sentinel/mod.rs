//! Which server is the master of a service, as its sentinels say.
//!
//! The client library has a form of this that was not used: it asks one sentinel, believes one that is out of date, and goes
//! back to a master that was replaced (docs/decisions/0041-sentinels-are-asked-all-at-once.md).

// what follows from the answers, without I/O
mod choose;
// one sentinel, and one candidate
mod ask;
// what was said, for all that are connected by it
mod following;
// asked for as long as anything is connected
mod follow;

pub(crate) use ask::{Seen, survey};
pub use choose::Master;
pub(super) use follow::follow;
pub(crate) use follow::resolved;
pub(crate) use following::Follower;
pub(super) use following::Following;
