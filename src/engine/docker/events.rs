//! What happens to containers of ours, as the engine tells it.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use futures_util::stream;

use crate::contract::error_code::ErrorCode;
use crate::engine::{EngineError, Events, label};
use crate::tls::Budget;

use super::classify::{Call, Failure, classify};
use super::client::{Client, Limits};
use super::inspect;

/// What a container can do that changes where its game is, or whether it runs.
const ACTIONS: [&str; 6] = ["start", "die", "destroy", "pause", "unpause", "rename"];

const ENDED: &str = "the engine ended the stream of events";

/// The events from now on.
pub(super) async fn from_now_on(client: &Client, limits: &Limits) -> Result<Events, EngineError> {
    let filters =
        HashMap::from([("type", vec!["container"]), ("label", vec![label::GAME_ID]), ("event", ACTIONS.to_vec())]);
    let options = EventsOptionsBuilder::new().filters(&filters).build();
    let budget = &Budget::endless();
    let subscribe = |docker: Docker| async move {
        let mut seen = docker.events(Some(options));
        // The library sends the request when the first event is asked for. What happens before the engine has answered
        // would be missed.
        tokio::select! {
            first = seen.next() => match first {
                Some(first) => Ok(stream::iter([Ok(first?)]).chain(seen).boxed()),
                None => Err(Failure::Unreachable(ENDED.to_owned())),
            },
            () = budget.answered() => Ok(seen.boxed()),
        }
    };
    let answer = client.call_within(budget, "events", limits.look, subscribe).await;
    let seen = answer.map_err(|failure| classify(Call::Optional, &failure))?;
    let budget = budget.clone();
    let ours = seen.filter_map(move |seen| {
        budget.item_taken();
        let event = match seen {
            Ok(seen) => inspect::event(seen).map(Ok),
            Err(error) => {
                let failure = budget.exceeded().map_or_else(|| Failure::from(error), Failure::TooLong);
                Some(Err(classify(Call::Other, &failure)))
            }
        };
        std::future::ready(event)
    });
    let ended = EngineError::failed(ErrorCode::EngineUnavailable, ENDED);
    // Nothing follows the first error.
    let all = ours.chain(stream::iter([Err(ended)])).scan(false, |has_failed, item| {
        let goes_on = !std::mem::replace(has_failed, item.is_err());
        std::future::ready(goes_on.then_some(item))
    });
    Ok(all.boxed())
}
