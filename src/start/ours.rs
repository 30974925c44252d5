//! Which containers are ours: those that this fleet created.

use std::collections::BTreeMap;

use super::game_id::GameId;
use super::host::Identity;
use crate::engine::{Container, Listed, label};

/// Whether this fleet created the container of the game's name for the game. An image may carry labels of our names, but not
/// this game's id together with an owner and the fleet.
pub(super) fn is_ours(container: &Container, game: &GameId, identity: &Identity) -> bool {
    container.label(label::GAME_ID) == game.as_str() && is_the_fleets(&container.labels, identity)
}

/// The game of a container in the list, where it is ours. One of another name than the game's was labelled by an image, or by
/// another program.
pub(super) fn game_of(container: &Listed, identity: &Identity) -> Option<GameId> {
    let game = GameId::parse(container.label(label::GAME_ID)).ok()?;
    (container.name == game.container_name() && is_the_fleets(&container.labels, identity)).then_some(game)
}

fn is_the_fleets(labels: &BTreeMap<String, String>, identity: &Identity) -> bool {
    let has = |name: &str| labels.get(name).is_some_and(|value| !value.is_empty());
    // Versions before this one name no fleet.
    let is_of_fleet = labels.get(label::FLEET).map_or_else(|| has(label::HOST), |fleet| *fleet == identity.fleet);
    has(label::OWNER) && is_of_fleet
}
