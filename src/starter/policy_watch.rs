//! Reads the policy file again when it changes. A file that is gone or broken changes nothing: the policy that holds stays.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::metrics::Metrics;
use crate::policy::Current;
use crate::policy::file::{LoadError, Loaded, load, load_if_changed};
use crate::worker::WORKER;
use crate::worker::error::RunError;
use crate::worker::troubles::{Trouble, Troubles};

/// How often the file is looked at: by its content, because a mounted file may be replaced under the same time and length.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A read that takes longer is a trouble.
const READ_MAX: Duration = Duration::from_secs(10);
/// A file that changes all the time is taken as it is after so many looks.
const SETTLE_LOOKS_MAX: u32 = 10;
/// A change counts when two looks so far apart have found the same: an editor may be writing.
const SETTLE: Duration = Duration::from_millis(200);

/// The policy of a process, and the file that it came from.
#[derive(Debug)]
pub(super) struct PolicyWatch {
    path: String,
    loaded: Arc<Loaded>,
    current: Current,
    stream: String,
    troubles: Troubles,
    /// A read that has not ended.
    reading: Option<JoinHandle<Result<Option<Loaded>, LoadError>>>,
}

impl PolicyWatch {
    /// Reads the file; everything that is wrong with it ends a process at its start.
    pub(super) fn begin(path: &str, current: &Current, stream: &str, metrics: Arc<Metrics>) -> Result<Self, RunError> {
        let loaded = load(path).map_err(|error| {
            RunError::BadFile(match error {
                LoadError::Unreadable(why) => format!("policy-file {path} {why}"),
                LoadError::Wrong(report) => format!("policy-file {path}: {report}"),
            })
        })?;
        let troubles = Troubles::harmless(stream, metrics);
        let watch = Self {
            path: path.to_owned(),
            loaded: Arc::new(loaded),
            current: current.clone(),
            stream: stream.to_owned(),
            troubles,
            reading: None,
        };
        watch.hold("policy read");
        Ok(watch)
    }

    /// Makes what was read last the policy that holds.
    fn hold(&self, what: &str) {
        let (Self { path: file, stream, .. }, read) = (self, &self.loaded.read);
        let digest = read.policy.digest().unwrap_or_default();
        self.current.replace(read.policy.clone());
        tracing::info!(worker = WORKER, stream, file, digest, "{what}");
        for warning in &read.warnings {
            let warning = warning.to_string().replace("\n    ", " ");
            tracing::warn!(worker = WORKER, stream, file, warning, "policy allows more than games usually need");
        }
    }

    /// Looks at the file again and again.
    pub(super) async fn run(mut self) {
        loop {
            sleep(LOOK_INTERVAL).await;
            self.look().await;
            self.troubles.report_recovered(Instant::now());
        }
    }

    async fn look(&mut self) {
        match self.read_settled().await {
            Ok(None) => _ = self.troubles.over(Trouble::Policy, Instant::now()),
            Ok(Some(loaded)) => {
                self.loaded = Arc::new(loaded);
                self.hold("policy changed");
                self.troubles.over(Trouble::Policy, Instant::now());
            }
            Err(error) => {
                let err = format!("policy-file {} {}", self.path, error.short());
                self.troubles.met(Trouble::Policy, &err, Instant::now());
            }
        }
    }

    /// What two looks in a row have found.
    async fn read_settled(&mut self) -> Result<Option<Loaded>, LoadError> {
        let mut found = self.read().await;
        for _ in 0..SETTLE_LOOKS_MAX {
            if found == Ok(None) {
                break;
            }
            sleep(SETTLE).await;
            let again = self.read().await;
            if again == found {
                break;
            }
            found = again;
        }
        found
    }

    /// A file system may hang: nothing else waits for it, and there is one read at a time.
    async fn read(&mut self) -> Result<Option<Loaded>, LoadError> {
        let mut reading = self.reading.take().unwrap_or_else(|| {
            let (path, known) = (self.path.clone(), Arc::clone(&self.loaded));
            tokio::task::spawn_blocking(move || load_if_changed(&path, &known))
        });
        match timeout(READ_MAX, &mut reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => Err(LoadError::Unreadable(format!("cannot be read: {error}"))),
            Err(_) => {
                self.reading = Some(reading);
                let limit = humantime::format_duration(READ_MAX);
                Err(LoadError::Unreadable(format!("cannot be read: the file system does not answer within {limit}")))
            }
        }
    }
}
