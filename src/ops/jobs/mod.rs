//! Single jobs in a list: those that wait, those that replicas hold, and those that have failed.

// one job of the list, and what is asked for
pub(crate) mod row;
// what replicas say of jobs that do not run
pub(crate) mod open;
// the three places where jobs are found, page by page
mod sources;
// the list
pub(crate) mod list;
