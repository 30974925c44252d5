//! Which games are on a host: a ZSET per host (`<prefix>placed:<host>`), the game's id by the time it was put there. A record
//! that says `running` and whose container is gone without a trace can only be found by it. A game comes on
//! it in one step with the intent of its start (`begin.lua`), and leaves it when its record says that it does not run there; so
//! it may hold too much, never too little.

use std::time::Duration;

use super::{Here, Records, parse_number, parse_yes};
use crate::redis::RedisError;
use crate::start::game_id::GameId;

/// Games in one answer.
pub(crate) const PAGE: u64 = 500;

/// What became of the wish for a place on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The game has it.
    Taken,
    /// So many games are there, and there may be no more.
    None(u64),
    /// Another attempt has taken over.
    Fenced,
}

impl Records {
    /// Notes that a game may run on a host.
    pub(crate) async fn place(&self, game: &GameId, host: &str, now_ms: u64) -> Result<(), RedisError> {
        self.calls.connection().add_scored(&self.placed_key(host), game.as_str(), now_ms).await
    }

    /// The game does not run on this host.
    pub(crate) async fn displace(&self, game: &GameId, host: &str) -> Result<(), RedisError> {
        self.calls.connection().remove_scored(&self.placed_key(host), game.as_str()).await
    }

    /// The game is not on this host any more where its attempt there has failed and left nothing. Asked where the number of games
    /// is limited: otherwise what keeps the records true finds it within its interval.
    pub async fn unlist(&self, game: &GameId, here: &Here) -> Result<bool, RedisError> {
        let list = [self.placed_key(&here.host)];
        parse_yes(&self.calls.call(self.key_of(game, "rec"), list, &["unlist", &here.names]).await?)
    }

    /// An attempt that waits for an image gives up its place on a host that may have only so many games.
    pub async fn give_room(&self, game: &GameId, fence: &str, here: &Here) -> Result<(), RedisError> {
        self.room(game, fence, here, &here.names).await.map(drop)
    }

    /// It wants a place again, where there are fewer than so many.
    pub async fn take_room(&self, game: &GameId, fence: &str, here: &Here, most: u32) -> Result<Room, RedisError> {
        self.room(game, fence, here, &format!("{}\n\n{most}", here.names)).await
    }

    async fn room(&self, game: &GameId, fence: &str, here: &Here, hosts: &str) -> Result<Room, RedisError> {
        let list = [self.placed_key(&here.host)];
        let words = self.calls.call(self.key_of(game, "rec"), list, &["room", &self.holder(fence), hosts]).await?;
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["yes"] => Ok(Room::Taken),
            ["fenced"] => Ok(Room::Fenced),
            ["full", games] => Ok(Room::None(parse_number(games)?)),
            _ => Err(RedisError::unexpected(&format!("{words:?}"))),
        }
    }

    /// The games that may run on a host, from this place in the list on; at most [`PAGE`].
    pub(crate) async fn placed(&self, host: &str, from: u64) -> Result<Vec<GameId>, RedisError> {
        let names = self.calls.connection().scored(&self.placed_key(host), from, PAGE).await?;
        // What is no game was not written by us.
        Ok(names.iter().filter_map(|name| GameId::parse(name).ok()).collect())
    }

    /// How many games may run on a host.
    pub(crate) async fn placed_count(&self, host: &str) -> Result<u64, RedisError> {
        self.calls.connection().scored_count(&self.placed_key(host)).await
    }

    /// When the game at this place in the list was put on the host, Unix milliseconds; none where there are not so many.
    pub(crate) async fn placed_ms(&self, host: &str, place: u64) -> Result<Option<u64>, RedisError> {
        self.calls.connection().score_at(&self.placed_key(host), place).await
    }

    /// Takes the tick of what keeps this host's records true, unless a replica has taken it within `interval`.
    pub async fn take_tick(&self, host: &str, interval: Duration) -> Result<bool, RedisError> {
        let (key, millis) = (format!("{}reconciled:{host}", self.prefix), interval.as_millis().to_string());
        parse_yes(&self.calls.call(key, None, &["tick", &millis, &self.owner]).await?)
    }

    /// Appends to a stream that keeps about so many entries.
    pub(crate) async fn announce(&self, stream: &str, max: u64, fields: &[(&str, &str)]) -> Result<(), RedisError> {
        self.calls.connection().append_capped(stream, max, fields).await
    }

    fn placed_key(&self, host: &str) -> String {
        format!("{}placed:{host}", self.prefix)
    }
}
