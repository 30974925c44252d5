//! A fleet is upgraded replica by replica while its games run, and rolled back to the version before: no game is restarted, and
//! no job is answered twice.

// replicas of two versions on one engine
mod two_versions;
// upgraded and rolled back with the binary of the version before
mod rolling;
// what the version before leaves behind, and what this one leaves to it
mod left_behind;
// a proxy before the engine that refuses what the version before did not ask for
mod closed_proxy;
