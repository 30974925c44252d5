//! Which images may run, and what their containers get: one file, which is read again when it changes.
//!
//! Everything but [`mod@file`] is pure: a text becomes a [`Policy`] or all problems of the text, and a policy and an image
//! reference become [`Terms`] or a [`Refusal`].

// where the file is
pub(crate) mod config;
// which references a rule is for
pub mod glob;
// what a container gets
mod terms;
// one key of the file, and what it changes
mod change;
// all of them: the policy
mod rules;
// what is wrong with a text
pub mod problem;
// from a text to a policy
pub mod read;
// what a container would get, and why
pub(crate) mod explain;
// the file itself
pub(crate) mod file;
// the policy that holds now
mod current;

pub use current::Current;
pub use rules::Policy;
pub use terms::{Refusal, Terms};
