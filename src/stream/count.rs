//! Counting what an operator's command has done in the history of the fleet.

use super::group::Group;
use super::tally::Tally;
use crate::redis::packed::Strings;
use crate::redis::{Key, RedisError, Value};

impl Group {
    /// Adds to the minute and the hour that run.
    pub(super) async fn count(&self, tally: &Tally) -> Result<(), RedisError> {
        let keys = self.keys.told().into_iter().map(Key::from).collect();
        let mut strings = Strings::expecting(64);
        tally.push(&mut strings);
        let told = Value::from(strings.into_array()?);
        self.call_with(&self.scripts.count, keys, [told]).await.map(drop)
    }
}
