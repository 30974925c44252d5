//! What an attempt gives up while it waits for an image: its slot, and its place among the games of a host that may have only so
//! many. Pulls that hang would fill the host otherwise.

use std::future::Future;

use super::StartError;
use super::game_id::GameId;
use super::record::{Here, Records, Room};
use crate::slot::Slot;

/// The slot of an attempt, and its place on its host.
pub(super) struct Place<'a> {
    pub(super) records: &'a Records,
    pub(super) game: &'a GameId,
    pub(super) fence: &'a str,
    pub(super) here: &'a Here,
    pub(super) slot: &'a Slot,
    /// How many games the host may have; none: any number.
    pub(super) games_max: Option<u32>,
}

impl Place<'_> {
    /// Waits for `other` without slot and place, and then for both again.
    pub(super) async fn without<T>(&self, other: impl Future<Output = T>) -> Result<T, StartError> {
        if self.games_max.is_some() {
            self.records.give_room(self.game, self.fence, self.here).await?;
        }
        let answer = self.slot.without(other).await?;
        let Some(most) = self.games_max else { return Ok(answer) };
        match self.records.take_room(self.game, self.fence, self.here, most).await? {
            Room::Taken => Ok(answer),
            Room::Fenced => Err(StartError::Fenced),
            Room::None(games) => Err(full(games, most)),
        }
    }
}

/// Another host may have room.
pub(super) fn full(games: u64, most: u32) -> StartError {
    let message = format!("{games} games are on this host, and containers-max of the policy is {most}");
    StartError::NoRoom { message }
}
