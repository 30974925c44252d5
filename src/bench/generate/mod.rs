//! What is sent and when, and what is done to the fleet meanwhile.

// when entries are sent, and what they are
pub mod mix;
pub mod profile;
// the sending threads
pub mod sender;
// everything at once, before the fleet reads
pub mod backlog;
// replicas killed and stopped, Redis killed and started again
pub mod faults;
