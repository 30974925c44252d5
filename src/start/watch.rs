//! Looks at a game as soon as the engine says that something happened to its container.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};

use super::game_id::GameId;
use super::reconcile::{Mode, Reconciler};
use crate::engine::{Engine, EngineError, EngineEvent, Events};

/// Events of this long are looked at together: a restart is several.
const GATHER: Duration = Duration::from_millis(100);
/// Games that are looked at together; beyond it everything is.
const GAMES_MAX: usize = 1_000;
/// Between two tries to listen.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Listens for as long as it is polled. What happened while it could not listen is found by a run over everything.
pub(crate) async fn watch(engine: Arc<dyn Engine>, reconciler: Arc<Reconciler>) -> Infallible {
    loop {
        if let Ok(events) = engine.events().await {
            // What happened before.
            look_at_everything(&reconciler).await;
            listen(events, &reconciler).await;
        }
        sleep(RETRY_AFTER).await;
    }
}

async fn listen(mut events: Events, reconciler: &Reconciler) {
    while let Some(Ok(first)) = events.next().await {
        let Some(games) = gather(first, &mut events).await else { return look_at_everything(reconciler).await };
        for game in games {
            if let Err(error) = reconciler.look_at(&game).await {
                tracing::debug!(game_id = game.as_str(), err = %error, "could not look at a game");
            }
        }
    }
}

/// The games of this event and of those that follow it closely; nothing where there are too many.
async fn gather(first: EngineEvent, events: &mut Events) -> Option<HashSet<GameId>> {
    let until = Instant::now() + GATHER;
    let mut games: HashSet<GameId> = game_of(&first).into_iter().collect();
    while let Ok(Some(Ok(event))) = timeout_at(until, next(events)).await {
        games.extend(game_of(&event));
        if games.len() > GAMES_MAX {
            return None;
        }
    }
    Some(games)
}

async fn next(events: &mut Events) -> Option<Result<EngineEvent, EngineError>> {
    events.next().await
}

fn game_of(event: &EngineEvent) -> Option<GameId> {
    let game = GameId::parse(&event.game_id).ok()?;
    (event.container_name == game.container_name()).then_some(game)
}

async fn look_at_everything(reconciler: &Reconciler) {
    if let Err(error) = reconciler.run_once(Mode::Whole).await {
        tracing::debug!(err = %error, "could not look at the games of this host");
    }
}
