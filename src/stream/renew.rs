//! Keeping what we hold: idle times back to zero, and our presence refreshed, in one owner-checked step.

use std::sync::Arc;

use super::entry_id::EntryId;
use super::group::{Member, delivered_of, generation_of, id_of, packed};
use super::presence::About;
use crate::redis::RedisError;

/// What became of one entry that this process believes to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Renewal {
    /// Still ours.
    Mine,
    /// Still ours; its payload is gone from the stream.
    Trimmed,
    /// It had fallen out of the pending list and was put back for us.
    Restored,
    /// Another consumer has it.
    Other,
    /// It is settled, not by us.
    Settled,
    /// It is not pending, and cannot be put back: what we make of it can be settled all the same.
    Absent,
}

impl Renewal {
    /// The word the script answers, and the metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Mine => "mine",
            Self::Trimmed => "trimmed",
            Self::Restored => "restored",
            Self::Other => "other",
            Self::Settled => "settled",
            Self::Absent => "absent",
        }
    }
}

/// Whether this replica takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// It does.
    Running,
    /// It finishes what it has.
    Draining,
}

impl ReplicaState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Draining => "draining",
        }
    }
}

/// The answer to a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// The group's last-delivered id; nothing where there is no group.
    pub(crate) delivered: Option<EntryId>,
    /// What became of each entry, in order.
    pub entries: Vec<(EntryId, Renewal)>,
    /// Entries that are pending for this consumer although it does not hold them: the reply that brought them was lost, or
    /// is on its way. Not all of them where there are many.
    pub strays: Vec<Stray>,
    /// What the server says of this replica.
    pub hearing: Hearing,
}

/// What the server says of a replica and its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// It is subscribed: its death is noticed at once.
    Heard,
    /// It is not subscribed.
    Unheard,
    /// The server does not tell this user.
    Refused,
    /// It has been declared dead. Nothing was renewed.
    DeclaredDead,
}

/// An entry that is pending for this consumer and not in its hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Which.
    pub id: EntryId,
    /// How often it has been delivered.
    pub deliveries: u64,
    /// Another replica has handed it over: no reply brings it.
    pub was_handed: bool,
    /// The dead replica that the other one had taken it from.
    pub dead_owner: Option<Arc<str>>,
}

impl Member {
    /// Renews the presence of this replica and the entries it holds. `generation`: of its subscription; none while it has none.
    pub async fn renew(
        &self,
        state: ReplicaState,
        about: &About,
        generation: Option<u64>,
        held: &[EntryId],
    ) -> Result<Renewed, RedisError> {
        let args = [state.as_str().into(), about.to_json().into(), generation_of(generation), packed(held)?];
        let reply = self.call(&self.group.scripts.renew, held, args).await?;
        let (delivered, words, strays, hearing): (String, Vec<String>, Vec<String>, String) = reply.convert()?;
        let hearing = hearing_of(&hearing)?;
        if words.len() != held.len() && hearing != Hearing::DeclaredDead {
            return Err(RedisError::unexpected("renewal count"));
        }
        let entries = held.iter().zip(&words).map(|(&id, word)| Ok((id, renewal_of(word)?)));
        Ok(Renewed {
            delivered: delivered_of(&delivered)?,
            entries: entries.collect::<Result<_, RedisError>>()?,
            strays: strays.chunks_exact(4).map(stray_of).collect::<Result<_, _>>()?,
            hearing,
        })
    }
}

fn stray_of(words: &[String]) -> Result<Stray, RedisError> {
    let deliveries = words[1].parse().map_err(|_| RedisError::unexpected("a number of deliveries"))?;
    let dead_owner = (!words[3].is_empty()).then(|| words[3].as_str().into());
    Ok(Stray { id: id_of(&words[0])?, deliveries, was_handed: words[2] == "handed", dead_owner })
}

fn hearing_of(word: &str) -> Result<Hearing, RedisError> {
    Ok(match word {
        "heard" => Hearing::Heard,
        "unheard" => Hearing::Unheard,
        "refused" => Hearing::Refused,
        "dead" => Hearing::DeclaredDead,
        _ => return Err(RedisError::unexpected(word)),
    })
}

fn renewal_of(word: &str) -> Result<Renewal, RedisError> {
    Ok(match word {
        "mine" => Renewal::Mine,
        "trimmed" => Renewal::Trimmed,
        "restored" => Renewal::Restored,
        "other" => Renewal::Other,
        "settled" => Renewal::Settled,
        "absent" => Renewal::Absent,
        _ => return Err(RedisError::unexpected(word)),
    })
}
