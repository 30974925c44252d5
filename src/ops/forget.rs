//! Forgetting replicas that have ended, before the fleet does it by itself.

use super::View;
use super::look::Look;
use super::printable::span;
use super::replicas::{Replica, State};
use crate::redis::{RedisError, Value};

/// What became of the wish to forget a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// It is.
    Done,
    /// It is not, because of this; for people.
    Refused(String),
}

/// Why this replica is not to be forgotten now, whatever it holds.
fn refusal(replica: &Replica) -> Option<String> {
    match replica.state {
        State::Running | State::Draining => return Some("it is alive".to_owned()),
        State::Unknown => return Some("it has no record that could be forgotten".to_owned()),
        State::Dead | State::Lost | State::Left => {}
    }
    // Its connection closed, and its process may go on: after its claim-idle it has noticed that itself.
    let silent_ms = replica.last_seen_ago_ms.unwrap_or_default();
    let left_ms = replica.claim_idle_ms.unwrap_or_default().saturating_sub(silent_ms);
    (replica.state == State::Dead && left_ms > 0)
        .then(|| format!("it was seen {} ago and may live: try again in {}", span(silent_ms), span(left_ms)))
}

impl View {
    /// Forgets a replica of this look, unless it is alive, has renewed since, or holds entries.
    pub(crate) async fn forget(&self, look: &Look, replica: &Replica) -> Result<Forgotten, RedisError> {
        if let Some(why) = refusal(replica) {
            return Ok(Forgotten::Refused(why));
        }
        let Some(record) = look.replicas.get(&replica.name) else {
            return Ok(Forgotten::Refused("it has no record that could be forgotten".to_owned()));
        };
        let keys = [&self.keys.jobs, &self.keys.replicas, &self.keys.attempts].map(String::clone);
        let args: Vec<Value> = [&self.group, &replica.name, record].map(|word| word.as_str().into()).into();
        let answer: String = self.scripts.forget.run(&self.connection, keys, args).await?.convert()?;
        Ok(match answer.as_str() {
            "forgotten" => Forgotten::Done,
            "holds" => Forgotten::Refused("it holds entries: the others take them over first".to_owned()),
            _ => Forgotten::Refused("its record has changed meanwhile: look again".to_owned()),
        })
    }
}
