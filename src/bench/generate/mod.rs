//! What is sent and when, and what is done to the fleet meanwhile.

// when entries are sent, and what they are
pub(crate) mod mix;
pub(crate) mod profile;
// the sending threads
pub(crate) mod sender;
// everything at once, before the fleet reads
pub(crate) mod backlog;
// replicas killed and stopped, Redis killed and started again
pub(crate) mod faults;
