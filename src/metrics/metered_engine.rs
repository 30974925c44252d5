//! An engine whose calls are timed.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Metrics;
use super::labels::{EngineOperation, EngineResult};
use crate::engine::{Container, ContainerSpec, Engine, EngineError, Events, Page, PullStep, Readiness, Ready, Reply};

/// Any engine, with every call that belongs to a start or to a look at all containers in
/// `engine_request_duration_seconds`.
#[derive(Debug)]
pub(crate) struct MeteredEngine {
    engine: Arc<dyn Engine>,
    metrics: Arc<Metrics>,
}

impl MeteredEngine {
    /// Times the calls of `engine`.
    pub(crate) fn new(engine: Arc<dyn Engine>, metrics: Arc<Metrics>) -> Self {
        Self { engine, metrics }
    }

    fn timed<'a, T: 'a>(
        &'a self,
        operation: EngineOperation,
        call: impl Future<Output = Result<T, EngineError>> + Send + 'a,
    ) -> Reply<'a, T> {
        async move {
            let began = Instant::now();
            let reply = call.await;
            self.metrics.engine_call(operation, result_of(&reply), began.elapsed());
            reply
        }
        .boxed()
    }
}

fn result_of<T>(reply: &Result<T, EngineError>) -> EngineResult {
    match reply {
        Ok(_) => EngineResult::Ok,
        Err(
            EngineError::NameTaken | EngineError::NoSuchContainer | EngineError::ImageMissing | EngineError::Refused(_),
        ) => EngineResult::Refused,
        Err(EngineError::Failed { code, .. }) => EngineResult::Failed(*code),
    }
}

impl Engine for MeteredEngine {
    fn kind(&self) -> &'static str {
        self.engine.kind()
    }

    fn ping(&self) -> Reply<'_, ()> {
        self.timed(EngineOperation::Ping, self.engine.ping())
    }

    fn has_image<'a>(&'a self, image: &'a str) -> Reply<'a, bool> {
        self.timed(EngineOperation::HasImage, self.engine.has_image(image))
    }

    fn pull<'a>(&'a self, image: &'a str, progress: &'a (dyn Fn(PullStep) + Send + Sync)) -> Reply<'a, ()> {
        self.timed(EngineOperation::Pull, self.engine.pull(image, progress))
    }

    fn registry_wait<'a>(&'a self, image: &'a str, words: &'a str) -> BoxFuture<'a, Option<Duration>> {
        self.engine.registry_wait(image, words)
    }

    fn find<'a>(&'a self, name_or_id: &'a str) -> Reply<'a, Option<Container>> {
        self.timed(EngineOperation::Find, self.engine.find(name_or_id))
    }

    fn create<'a>(&'a self, spec: &'a ContainerSpec) -> Reply<'a, String> {
        self.timed(EngineOperation::Create, self.engine.create(spec))
    }

    fn start<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Container>> {
        self.timed(EngineOperation::Start, self.engine.start(id))
    }

    fn unpause<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.timed(EngineOperation::Unpause, self.engine.unpause(id))
    }

    fn keeps_containers(&self) -> bool {
        self.engine.keeps_containers()
    }

    fn stop<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.timed(EngineOperation::Stop, self.engine.stop(id))
    }

    fn remove<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.timed(EngineOperation::Remove, self.engine.remove(id))
    }

    fn is_ready<'a>(&'a self, container: &'a Container, readiness: &'a Readiness) -> BoxFuture<'a, Ready> {
        self.engine.is_ready(container, readiness)
    }

    fn log_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        self.engine.log_tail(id)
    }

    fn list<'a>(&'a self, from: &'a str) -> Reply<'a, Page> {
        self.timed(EngineOperation::List, self.engine.list(from))
    }

    fn events(&self) -> Reply<'_, Events> {
        self.engine.events()
    }

    fn mark<'a>(&'a self, name: &'a str, labels: &'a BTreeMap<String, String>) -> Reply<'a, BTreeMap<String, String>> {
        self.engine.mark(name, labels)
    }

    fn marks<'a>(&'a self, label: &'a str) -> Reply<'a, Vec<BTreeMap<String, String>>> {
        self.engine.marks(label)
    }

    fn permit(&self) -> BoxFuture<'_, OwnedSemaphorePermit> {
        self.engine.permit()
    }
}
