//! The measurements: each runs a fleet, or a bare client in its place, and returns figures.

// a backlog, and how fast it is answered: once, against others, with more and more replicas
pub(crate) mod compare;
pub(crate) mod drain;
pub(crate) mod scale;
// a load over time, and its limits
pub(crate) mod load;
pub(crate) mod slo;
// latency at steady rates, in rounds of such loads
pub(crate) mod latency;
// real containers, against a bare client of the engine
pub(crate) mod containers;
// what an idle fleet costs Redis
pub(crate) mod idle;
// kills, poison and rolling restarts, one figure each
pub(crate) mod recovery;
