//! Real containers: how many the worker starts a second, against a bare client of the same engine that does what has to
//! be done and no more. Round by round in one run; both keep the same number of starts under way, and a start counts
//! from its request to the answer: for the worker that is from the job's append to its outcome in Lobby's hands.

// what is started, and how
pub(crate) mod options;
// the bare client
pub(crate) mod bare;
// the worker
pub(crate) mod fleet;
// both in turn, and the report
pub(crate) mod rounds;
