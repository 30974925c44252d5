//! What is seen of a run: entries and their answers, processor time and memory.

// what was sent and what has been seen of it
pub(crate) mod books;
// what the threads of a run share
pub(crate) mod shared;
// the thread that reads results and dead letters
pub(crate) mod observer;
// processor time and memory
pub(crate) mod cost;
pub(crate) mod memory;
// what a person sees while it runs
pub(crate) mod progress;
