//! What screens are made of: one function each, facts in, HTML out. Nothing here asks for anything.

// shapes that say the same as the words beside them
pub(crate) mod icons;
// colours of states
pub(crate) mod tone;
// the page around a screen
pub(crate) mod shell;
// health, on the overview and on every other screen
pub(crate) mod verdict;
// what is wrong, beside its next step
pub(crate) mod problem;
// the six numbers in the order jobs move
pub(crate) mod flow;
// hosts in one line
pub(crate) mod hosts;
// charts
pub(crate) mod chart;
// what happened, newest first
pub(crate) mod events;
// a state in a word
pub(crate) mod tag;
// searching and choosing
pub(crate) mod filters;
// rows, which become cards where it is narrow
pub(crate) mod table;
// how full something is
pub(crate) mod meter;
// one job's moments
pub(crate) mod story;
// the course of one job from left to right
pub(crate) mod waterfall;
// names and values
pub(crate) mod facts;
// asking before something changes
pub(crate) mod confirm;
// one line of notice
pub(crate) mod strip;
// where there is nothing to show
pub(crate) mod empty;
