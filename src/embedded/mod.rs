//! A fleet on this machine: a private redis-server and replicas of this very binary, as real processes.
//!
//! For `dev`, the demonstration and the tests. Everything ends with the process that started it, even if that is
//! killed, and leaves nothing behind.

// child processes that end with their parent
pub mod process;
// a redis-server of one's own
pub mod redis_server;
// a master, replicas of it and sentinels
pub mod sentinels;
// replicas
pub mod fleet;
// this program as a container image
pub(crate) mod image;
// a Docker Engine, for bringing that image and taking everything away again
pub(crate) mod docker;
// what a private Docker Engine leaves behind, and its removal
pub(crate) mod engine_remains;
// a Docker Engine of one's own
pub(crate) mod dockerd;
// what is removed when the process ends, however it ends
pub(crate) mod leftovers;
// the place where all of this lives: a directory, a redis-server, and the guard of both
pub(crate) mod site;
