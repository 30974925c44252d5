//! One of a replica's slots, in the hands of an attempt.
//!
//! An attempt that waits for something that takes nothing from this replica, such as an image on its way from a registry,
//! gives its slot back meanwhile, so that other jobs start in it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::Notify;

/// What an attempt wants of its replica.
#[derive(Debug)]
pub(crate) enum SlotRequest {
    /// Others may have its slot. Until it asks for one again it can be dismissed.
    GiveUp(Dismissal),
    /// It wants a slot again, and goes on when it is granted.
    Return(Grant),
}

/// The slot of an attempt. The default is of no replica: giving it up frees nothing.
#[derive(Clone, Default)]
pub struct Slot(Option<Arc<dyn Fn(SlotRequest) + Send + Sync>>);

/// Lets an attempt go on that waits for a slot.
#[derive(Debug)]
pub(crate) struct Grant(Arc<Notify>);

/// Ends the wait of an attempt that has given up its slot: its job is for others.
#[derive(Debug)]
pub(crate) struct Dismissal(Arc<Notify>);

/// The replica does not go on with an attempt that waited without a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the replica gives back what waits without a slot")]
pub struct Dismissed;

impl Slot {
    /// A slot whose requests go to `tell`.
    pub(crate) fn new(tell: impl Fn(SlotRequest) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Waits for `other` without the slot, and then for a slot again. One wait at a time. An attempt that is dismissed must end
    /// without having begun anything more.
    pub async fn without<T>(&self, other: impl Future<Output = T>) -> Result<T, Dismissed> {
        let Some(tell) = &self.0 else { return Ok(other.await) };
        let dismissed = Arc::new(Notify::new());
        tell(SlotRequest::GiveUp(Dismissal(Arc::clone(&dismissed))));
        let regained = async {
            let answer = other.await;
            let granted = Arc::new(Notify::new());
            tell(SlotRequest::Return(Grant(Arc::clone(&granted))));
            granted.notified().await;
            answer
        };
        tokio::select! {
            biased;
            answer = regained => Ok(answer),
            () = dismissed.notified() => Err(Dismissed),
        }
    }
}

impl Dismissal {
    /// One for which nothing waits.
    #[cfg(test)]
    pub(crate) fn unheard() -> Self {
        Self(Arc::new(Notify::new()))
    }

    /// The attempt ends.
    pub(crate) fn tell(self) {
        self.0.notify_one();
    }
}

impl Grant {
    /// One for which nothing waits.
    #[cfg(test)]
    pub(crate) fn unheard() -> Self {
        Self(Arc::new(Notify::new()))
    }

    /// The attempt has a slot again.
    pub(crate) fn give(self) {
        self.0.notify_one();
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Slot").field(&self.0.is_some()).finish()
    }
}

/// Slots tell nothing about what they are used for.
impl PartialEq for Slot {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Slot {}
