//! `startjobs dash`: the fleet on a whole terminal, in the order in which it is shown: the terminal, what is known, what the
//! user looks at, how it is drawn, and the loop.

// the terminal, and its state afterwards
mod terminal;
// what is shown of the fleet
mod facts;
// what the user looks at
mod app;
// charts of the history
mod chart;
// the whole screen
mod draw;
// flags, and the loop
pub(super) mod command;
