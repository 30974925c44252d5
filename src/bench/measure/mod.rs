//! The measurements: each runs a fleet, or a bare client in its place, and returns figures.

// a backlog, and how fast it is answered: once, against others, with more and more replicas
pub mod compare;
pub mod drain;
pub mod scale;
// a load over time, and its limits
pub mod load;
pub mod slo;
// latency at steady rates, in rounds of such loads
pub mod latency;
// real containers, against a bare client of the engine
pub mod containers;
// kills, poison and rolling restarts, one figure each
pub mod recovery;
