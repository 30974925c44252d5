//! What tests share: real servers, real replicas, and waiting on states.

// a redis-server, a fleet of replicas of this binary, and Lobby's side of the streams
pub mod world;
// a clock that a test sets
pub mod clock;
// a running `startjobs dev`
pub mod dev;
// a private dockerd
pub mod dockerd;
// an engine that misbehaves as a test wants
pub mod faulty_engine;
// small programs for images
pub mod c_program;
// a collector of traces that answers what a test wants
pub mod collector;
// a registry that answers what a test wants
pub mod registry;
// the simulated engine's own log, checked independently
pub mod sim_log;
// what a replica logged, line by line
pub mod replica_log;
// a network that fails in every way
pub mod proxy;
// certificates, made by deploy/tls
pub mod certificates;
// HTTP by hand
pub mod http;
// a replica's probes and metrics over HTTP
pub mod scrape;
// every version of redis-server that there is here
pub mod servers;
// every crash and failure that is counted, as Redis is told of it
pub mod counted;
// the terms of sweeps that are called without a replica
pub mod sweeps;
