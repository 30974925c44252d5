//! Creating the group where it is missing, and taking over what the legacy worker did while the fleet was stopped.

use super::entry_id::EntryId;
use super::group::{Member, id_of, millis};
use crate::redis::RedisError;
use std::time::Duration;

/// What the group looked like, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// What was done.
    pub state: AdoptionState,
    /// The mirror now: entries after it are ours to answer.
    pub mirror: String,
    /// Entries the legacy worker had answered, acknowledged without an outcome.
    pub acknowledged: u64,
    /// The largest id that may have been delivered before.
    pub(crate) delivered: EntryId,
}

/// What was done to make the group usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdoptionState {
    /// The group was missing; it begins right after [`Adoption::mirror`].
    Created,
    /// Another program had moved the mirror forward; everything up to it counts as answered.
    Adopted,
    /// Another program moved the mirror while other replicas run; nothing was taken over.
    Foreign,
    /// Nothing had to be done.
    Existed,
}

impl AdoptionState {
    /// The word the script answers, and the metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Adopted => "adopted",
            Self::Foreign => "foreign",
            Self::Existed => "exists",
        }
    }
}

impl Member {
    /// Makes the group usable. Safe to run at any time, by any number of replicas.
    pub async fn adopt(&self, claim_idle: Duration) -> Result<Adoption, RedisError> {
        let reply = self.call(&self.group.scripts.adopt, &[], [millis(claim_idle)]).await?;
        let (state, mirror, acknowledged, delivered): (String, String, u64, String) = reply.convert()?;
        let state = match state.as_str() {
            "created" => AdoptionState::Created,
            "adopted" => AdoptionState::Adopted,
            "foreign" => AdoptionState::Foreign,
            "exists" => AdoptionState::Existed,
            other => return Err(RedisError::unexpected(other)),
        };
        Ok(Adoption { state, mirror, acknowledged, delivered: id_of(&delivered)? })
    }
}
