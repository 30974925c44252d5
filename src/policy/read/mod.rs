//! From a text to a policy. Nothing stops at the first problem: an operator gets all of them at once.

// texts and numbers to values
mod values;
// which capabilities a container may keep
mod capabilities;
// which files of the host it may see
mod mounts;
// keys that people look for, and what to write instead
mod elsewhere;
// the text, and the problems met on the way
mod reading;
// one section of changes: `[defaults]` or an `[[image]]`
mod section;
// the whole file
mod document;

#[cfg(test)]
mod tests;

/// The keys outside all sections.
const TOP_KEYS: [&str; 5] = ["allowed-images", "require-digest", "containers-max", "defaults", "image"];

pub use document::{Read, all_keys, parse};
