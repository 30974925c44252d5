//! `startjobs send --file`: many start jobs, one JSON object a line.

// one line becomes a job, or what is wrong with it
mod line;
// a file or stdin, line by line
mod lines;
// the outcomes of what was sent
pub(super) mod follow;
// checking, sending, following
pub(super) mod run;
