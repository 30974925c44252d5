//! What is known about entries before anything is started: asked once for every batch that comes into our hands, so
//! that what was answered or condemned never runs again, and a suspect never beside others, even after the group was
//! lost and everything is delivered as new.

use std::collections::BTreeSet;

use fred::interfaces::{HashesInterface, KeysInterface, SetsInterface};

use super::Group;
use super::entry_id::EntryId;
use crate::redis::RedisError;

/// What is known about one entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// It is settled: acknowledge, and nothing else.
    pub is_settled: bool,
    /// How often a process died with it.
    pub crashes: u64,
    /// How often the start service failed with it.
    pub failures: u64,
}

impl Group {
    /// Asks the ledger and the attempts about these entries, in one round trip.
    pub async fn past(&self, ids: &[EntryId]) -> Result<Vec<Past>, RedisError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let client = self.commands.client();
        let names: Vec<String> = ids.iter().map(EntryId::to_string).collect();
        // The commands go out one behind the other without waiting for each other's reply. Nearly always nobody has
        // any attempts behind him, and then there is nothing to ask for one by one.
        let has_attempts = client.exists::<bool, _>(self.keys.attempts.as_str());
        let (has_attempts, settled) = tokio::join!(has_attempts, self.settled(ids, &names));
        let attempts: Vec<Option<String>> = if has_attempts.map_err(|error| self.commands.failed(error))? {
            let values = client.hmget(self.keys.attempts.as_str(), names).await;
            values.map_err(|error| self.commands.failed(error))?
        } else {
            vec![None; ids.len()]
        };
        let past = |(is_settled, attempts): (bool, Option<String>)| {
            let (crashes, failures) = attempts.as_deref().map_or((0, 0), counts_of);
            Past { is_settled, crashes, failures }
        };
        Ok(settled?.into_iter().zip(attempts).map(past).collect())
    }

    async fn settled(&self, ids: &[EntryId], names: &[String]) -> Result<Vec<bool>, RedisError> {
        let mut settled = vec![false; ids.len()];
        // Nearly always one: a batch's ids are moments apart.
        let hours: BTreeSet<u64> = ids.iter().map(|id| id.ledger_hour()).collect();
        for hour in hours {
            let positions: Vec<usize> = (0..ids.len()).filter(|&at| ids[at].ledger_hour() == hour).collect();
            let members: Vec<String> = positions.iter().map(|&at| names[at].clone()).collect();
            let bucket = format!("{}{hour}", self.keys.ledger_prefix);
            let found: Vec<bool> = self
                .commands
                .client()
                .smismember(bucket, members)
                .await
                .map_err(|error| self.commands.failed(error))?;
            for (at, is_member) in positions.into_iter().zip(found) {
                settled[at] = is_member;
            }
        }
        Ok(settled)
    }
}

/// The first two numbers of the scripts' `<crashes> <failures> <since>`.
fn counts_of(text: &str) -> (u64, u64) {
    let mut numbers = text.split(' ').map(|word| word.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
