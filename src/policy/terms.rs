//! What a container of an image gets, or why it gets nothing.

use crate::engine::sandbox::Sandbox;
use crate::secret::Secret;

/// What a container of an allowed image gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// What it may use and do.
    pub sandbox: Sandbox,
    /// Names and values besides those that every game engine gets.
    pub env: Vec<(String, Secret)>,
    /// Labels besides those that every container gets.
    pub labels: Vec<(String, String)>,
}

/// Why an image may not run, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub(super) String);
