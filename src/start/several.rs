//! Several engines of one process: each is a host of its own, and a job goes to the one on which its game is placed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::host::Host;
use super::service::Service;
use super::{Answered, StartError, StartInput, StartService};

/// The services of all engines; at least one.
#[derive(Debug)]
pub(crate) struct Several {
    services: Vec<(Arc<Host>, Arc<Service>)>,
    /// Where the next new game goes.
    next: AtomicUsize,
}

impl Several {
    /// Of these hosts.
    pub(crate) fn new(services: Vec<(Arc<Host>, Arc<Service>)>) -> Self {
        Self { services, next: AtomicUsize::new(0) }
    }

    /// The service of the next engine that answers; where none does, why not.
    async fn any(&self) -> Result<&Service, StartError> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut failure = StartError::InProgress { retry_after: None };
        for number in 0..self.services.len() {
            let (_, service) = &self.services[(first + number) % self.services.len()];
            match service.engine_answers().await {
                Ok(()) => return Ok(service),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The service of this host, where it is one of ours and its engine answers.
    async fn of(&self, host: &str) -> Option<&Service> {
        let is_it = |(settled, _): &&(Arc<Host>, _)| settled.settled().is_some_and(|identity| identity.here.is(host));
        let (_, service) = self.services.iter().find(is_it)?;
        service.engine_answers().await.is_ok().then_some(service)
    }

    async fn start(&self, input: &StartInput) -> Result<Answered, StartError> {
        match self.any().await?.handle(input).await {
            Err(StartError::Elsewhere { host }) => match self.of(&host).await {
                Some(service) => service.handle(input).await,
                None => Err(StartError::Elsewhere { host }),
            },
            Err(full @ StartError::NoRoom { .. }) => self.start_with_room(input, full).await,
            answer => answer,
        }
    }

    /// The engine whose turn it was has no room: another one may have.
    async fn start_with_room(&self, input: &StartInput, full: StartError) -> Result<Answered, StartError> {
        for (_, service) in &self.services {
            if service.engine_answers().await.is_ok() && service.has_room().await? {
                return service.handle(input).await;
            }
        }
        Err(full)
    }
}

impl StartService for Several {
    fn handle<'a>(&'a self, input: &'a StartInput) -> BoxFuture<'a, Result<Answered, StartError>> {
        self.start(input).boxed()
    }

    fn give_up<'a>(&'a self, input: &'a StartInput, failure: Answered) -> BoxFuture<'a, Result<Answered, StartError>> {
        // A container on another engine is found by what keeps the records of that host true.
        self.services[0].1.give_up(input, failure)
    }

    fn engine_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
        async { self.any().await.map(drop) }.boxed()
    }

    fn store_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
        self.services[0].1.store_answers()
    }

    fn has_room(&self) -> BoxFuture<'_, Result<bool, StartError>> {
        async {
            for (_, service) in &self.services {
                if service.has_room().await? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        .boxed()
    }
}
