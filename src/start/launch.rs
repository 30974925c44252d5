//! How games are started here: what the settings and the policy say.

use std::sync::Arc;
use std::time::Duration;

use super::pulls::Images;
use crate::engine::Readiness;
use crate::policy::Current;

/// How the game engine is reached and awaited.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// `engine-port`
    pub(crate) port: u16,
    /// `readiness`
    pub(crate) readiness: Readiness,
    /// `ready-timeout`
    pub(crate) ready_timeout: Duration,
    /// Which images may run, and what their containers get.
    pub(crate) policy: Current,
    /// How their images arrive.
    pub(crate) images: Arc<Images>,
}
