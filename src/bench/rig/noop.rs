//! A start service that does nothing: what is left is the worker itself. No setting of the production worker leads here.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::contract::job_result::{Answer, SuccessKind};
use crate::settings::Settings;
use crate::start::{Answered, StartError, StartInput, StartService};
use crate::starter::run_with_service;
use crate::worker::error::RunError;
use crate::worker::replica::Exit;

/// As long as an id of Docker's.
pub(crate) const CONTAINER_ID: &str = "9f3c0000000000000000000000000000000000000000000000000000000000aa";

#[derive(Debug)]
struct Noop;

impl StartService for Noop {
    fn handle<'a>(&'a self, input: &'a StartInput) -> BoxFuture<'a, Result<Answered, StartError>> {
        let answer = Answer::Success {
            container_id: CONTAINER_ID.to_owned(),
            engine_endpoint: endpoint(&input.game_id),
            kind: SuccessKind::Started,
        };
        std::future::ready(Ok(answer.into())).boxed()
    }

    fn give_up<'a>(&'a self, _input: &'a StartInput, failure: Answered) -> BoxFuture<'a, Result<Answered, StartError>> {
        std::future::ready(Ok(failure)).boxed()
    }

    fn engine_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn store_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// The endpoint that a no-op start names.
pub(crate) fn endpoint(game_id: &str) -> String {
    format!("http://rtm-{game_id}:8080")
}

/// Runs one replica whose starts do nothing.
pub(crate) async fn run(settings: Settings, stop: CancellationToken) -> Result<Exit, RunError> {
    run_with_service(settings, Arc::new(Noop), stop).await
}
