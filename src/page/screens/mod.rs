//! The screens: what was seen, to HTML.

// how is the fleet? who notices? what do I do?
pub(super) mod overview;
// the history as charts
pub(super) mod charts;
// one thing that happened, in words and shapes
pub(super) mod happened;
// which jobs, where, what are they doing?
pub(super) mod jobs;
// what happened to this one?
pub(super) mod job;
// when did it wait, and when was it worked on?
mod course;
// and to this game?
pub(super) mod game;
// what could not be answered, and why?
pub(super) mod dead;
// which host, which process?
pub(super) mod replicas;
// alerts, surroundings, pause, settings
pub(super) mod system;
// what to do about an alert
pub(super) mod runbooks;
// dead letters: what would change, and what has
pub(super) mod act;
// a single job: cancelled, or tried again
pub(super) mod wish;
// the pause
pub(super) mod hold;
// one replica, drained
pub(super) mod drain;
// who may act
pub(super) mod access;
// what a screen says where it has nothing to show
pub(super) mod refused;
// what cannot be read
mod damaged;
