//! The policy that holds now.

use std::sync::{Arc, PoisonError, RwLock};

use super::rules::Policy;

/// The policy that holds now. All clones show the same one.
#[derive(Debug, Clone, Default)]
pub struct Current(Arc<RwLock<Arc<Policy>>>);

impl Current {
    /// This policy, until it is replaced.
    pub fn new(policy: Policy) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(policy))))
    }

    /// The policy that holds now.
    pub fn now(&self) -> Arc<Policy> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this one holds: for everything that is begun from now on.
    pub fn replace(&self, policy: Policy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }
}
