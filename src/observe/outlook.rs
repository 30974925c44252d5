//! The fleet as operators see it, for probes and metrics: on a connection of its own, made when it is first needed, one
//! question at a time, every answer bounded in time. Nothing here holds up the loop.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OnceCell, Semaphore};

use crate::ops::View;
use crate::ops::alerts::Alerts;
use crate::ops::backlog::{COUNTED_MAX, Waiting};
use crate::ops::connect::{connect, within};
use crate::ops::hosts::FleetHosts;
use crate::ops::look::Look;
use crate::ops::overview::Overview;
use crate::ops::pending::Pending;
use crate::ops::replicas::Replicas;
use crate::redis::RedisError;
use crate::settings::Settings;

/// How long an answer may take, waiting for others' included.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Entries that `pending` lists, as the command does.
const PENDING_LISTED: usize = 100;
/// Entries that a sample counts one by one, where counting is needed at all: every replica samples.
const SAMPLE_COUNTED_MAX: u64 = 10_000;

/// A view of the fleet.
#[derive(Debug)]
pub(crate) struct Outlook {
    settings: Settings,
    /// What Redis calls its connection.
    name: &'static str,
    view: OnceCell<View>,
    turn: Semaphore,
}

/// What the gauges are made of.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The fleet in one look.
    pub(crate) look: Look,
    /// What waits, by our own count.
    pub(crate) waiting: Waiting,
    /// Who is there.
    pub(crate) replicas: Replicas,
    /// Where games are started.
    pub(crate) hosts: FleetHosts,
}

/// What a question is on its way to.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, RedisError>>;

impl Outlook {
    /// The fleet of these settings; nothing is connected yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self::named(settings, "startjobs:observe")
    }

    /// The same on a connection of another name.
    pub(crate) fn named(settings: &Settings, name: &'static str) -> Self {
        Self { settings: settings.clone(), name, view: OnceCell::new(), turn: Semaphore::new(1) }
    }

    /// What `startjobs status --json` prints.
    pub(crate) async fn overview(&self) -> Result<Overview, RedisError> {
        self.ask(|view| view.overview(COUNTED_MAX).boxed()).await
    }

    /// What `startjobs alerts --json` prints.
    pub(crate) async fn alerts(&self) -> Result<Alerts, RedisError> {
        self.ask(|view| view.alerts(COUNTED_MAX).boxed()).await
    }

    /// What `startjobs replicas --json` prints.
    pub(crate) async fn replicas(&self) -> Result<Replicas, RedisError> {
        self.ask(|view| async { Ok(view.replicas(&view.look().await?)) }.boxed()).await
    }

    /// What `startjobs pending --json` prints.
    pub(crate) async fn pending(&self) -> Result<Pending, RedisError> {
        self.ask(|view| view.pending(PENDING_LISTED).boxed()).await
    }

    /// What the gauges are made of.
    pub(crate) async fn sample(&self) -> Result<Sample, RedisError> {
        self.ask(|view| {
            async {
                let look = view.look().await?;
                let waiting = view.waiting(&look, SAMPLE_COUNTED_MAX).await?;
                let replicas = view.replicas(&look);
                let hosts = view.hosts(&look, &replicas.replicas).await?;
                Ok(Sample { look, waiting, replicas, hosts })
            }
            .boxed()
        })
        .await
    }

    /// Asks one question, when those before it are answered.
    pub(crate) async fn ask<T>(
        &self,
        question: impl for<'a> FnOnce(&'a View) -> Answer<'a, T>,
    ) -> Result<T, RedisError> {
        within(ANSWER_WITHIN, async {
            let _turn = self.turn.acquire().await.expect("the semaphore is never closed");
            question(self.view.get_or_try_init(|| self.connect()).await?).await
        })
        .await
    }

    async fn connect(&self) -> Result<View, RedisError> {
        let connection = connect(&self.settings.redis, self.name, ANSWER_WITHIN, || {}).await?;
        Ok(View::new(connection.into(), &self.settings))
    }
}
