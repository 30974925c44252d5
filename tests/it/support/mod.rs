//! What tests share: real servers, real replicas, and waiting on states.

// a redis-server, a fleet of replicas of this binary, and Lobby's side of the streams
pub mod world;
