//! This replica's subscription: the others notice by it that the replica has died.

use std::time::Duration;

use tokio::sync::watch;

use super::config::ReplicaConfig;
use crate::redis::RedisError;
use crate::redis::subscription::{Standing, Subscription, SubscriptionState};
use crate::stream::Member;
use crate::stream::claim::Watch;

/// This replica's subscription, by which others notice its death.
#[derive(Debug)]
pub(crate) struct Listening {
    /// None where deaths are noticed by silence alone.
    subscription: Option<(Subscription, Duration)>,
    /// Generations of earlier lives.
    before: u64,
}

impl Listening {
    /// Subscribes to the channel of this consumer, if `disconnect-grace` is on. Earlier lives had so many generations.
    pub(crate) fn begin(config: &ReplicaConfig, member: &Member, before: u64) -> Result<Self, RedisError> {
        let Some(grace) = config.worker.disconnect_grace else { return Ok(Self { subscription: None, before }) };
        let name = format!("startjobs:{}", member.consumer());
        let channel = member.group().keys().alive_channel(member.consumer());
        Ok(Self { subscription: Some((Subscription::keep(&config.redis, &name, &channel)?, grace)), before })
    }

    /// Changes when it is lost, and when it is there again. Never, where there is none.
    pub(super) fn changes(&self) -> watch::Receiver<Standing> {
        // Without a sender it never changes.
        self.subscription.as_ref().map_or_else(
            || watch::channel(Standing { generation: 0, state: SubscriptionState::Down }).1,
            |(subscription, _)| subscription.changes(),
        )
    }

    /// Changes with every message on its channel. Never, where there is none.
    pub(super) fn messages(&self) -> watch::Receiver<u64> {
        self.subscription.as_ref().map_or_else(|| watch::channel(0).1, |(subscription, _)| subscription.messages())
    }

    /// None while there is no subscription: the server may not have noticed that yet, and must not be believed.
    pub(super) fn generation(&self) -> Option<u64> {
        let standing = self.subscription.as_ref()?.0.standing();
        (standing.state == SubscriptionState::Subscribed).then_some(self.before + standing.generation)
    }

    /// How deaths are noticed by it.
    pub(super) fn watch(&self) -> Option<Watch> {
        let (_, grace) = self.subscription.as_ref()?;
        Some(Watch { grace: *grace, generation: self.generation() })
    }

    /// How many generations of it there were, with those of earlier lives.
    pub(super) fn generations(&self) -> u64 {
        let standing = self.subscription.as_ref().map(|(subscription, _)| subscription.standing());
        self.before + standing.map_or(0, |standing| standing.generation)
    }
}
