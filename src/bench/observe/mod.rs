//! What is seen of a run: entries and their answers, processor time and memory.

// what was sent and what has been seen of it
pub mod books;
// what the threads of a run share
pub mod shared;
// the thread that reads results and dead letters
pub mod observer;
// processor time and memory
pub mod cost;
pub mod memory;
// what a person sees while it runs
pub mod progress;
