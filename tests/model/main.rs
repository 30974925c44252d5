//! The protocol as a model: a fleet, a few jobs and what may happen to them, looked at in every order. Redis is one state, and a
//! script is one step in it; so is each call of the engine. `scenarios` are what must hold, `wrong` are protocols with a fault in
//! them, each of which must violate a property. It is written from the scripts and from docs/delivery-guarantees.md, and tests
//! the design: what the scripts themselves do is for the tests in tests/it.
//!
//! Time has no numbers here. What a time limit allows may happen at any moment once its condition is there: a lease that nobody
//! renews ends, a replica that is stopped falls silent, a host of which no replica works is taken for dead.

mod state;

mod variants;

mod protocol;

// src/stream/scripts
mod group;

// src/start
mod start;

// hosts, processes, the reconciler, and what is done to Redis from outside
mod hosts;

mod properties;

mod explore;

mod scenarios;

mod wrong;

// docs/delivery-guarantees.md
mod promises;
