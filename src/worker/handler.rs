//! What a kind of job is to the worker. The worker takes entries from the stream to their outcomes; what a job asks for,
//! and how that is done, its handler knows.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::contract::Fields;
use crate::contract::dead_letter::Reason;
use crate::contract::error_code::ErrorCode;
use crate::metrics::labels::{OutcomeCode, OutcomeKind};
use crate::redis::RedisError;
use crate::slot::{Dismissed, Slot};
use crate::stream::entry_id::EntryId;
use crate::stream::settle::Outcome;
use crate::telemetry::Scope;

/// One kind of jobs.
pub trait Handler: Send + Sync + std::fmt::Debug {
    /// What an entry asks for. The error says why it asks for nothing, and goes into the log and into the dead letter.
    fn decode(&self, fields: &Fields) -> Result<Arc<dyn Request>, String>;

    /// The fields that [`Handler::decode`] looks at, and how many bytes of each it takes: all that is read of an entry that is
    /// too large to be read whole.
    fn job_fields(&self) -> (&'static [&'static str], usize);

    /// The names of the fields of an outcome, in wire order. Every [`Outcome`] of this handler has a value for each.
    fn outcome_fields(&self) -> &'static [&'static str];

    /// What does the work: the `engine` of log lines and presence records.
    fn engine(&self) -> &'static str;

    /// The host whose jobs this replica does, or several with spaces between them; nothing where it is not known yet, or where
    /// any replica can do any job. The name of a host has no spaces and no quotation marks. It is told with every renewal. Replicas of other hosts hand over to this one what they answer [`Failure::Elsewhere`] to with the
    /// same name. At most 256 characters.
    fn host(&self) -> Option<String> {
        None
    }

    /// A short text that tells the rules of this replica apart from those of another one; nothing where there are none. It is
    /// told with every renewal.
    fn policy(&self) -> Option<String> {
        None
    }

    /// Does the engine answer? Asked while the replica waits for one that does not.
    fn is_up(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Does the handler's store take writes? Asked while the replica waits for one that does not. A handler without a store
    /// need not say.
    fn store_is_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        std::future::ready(Ok(())).boxed()
    }

    /// Has the host room for another job? Asked once a second after an attempt was answered [`Failure::NoRoom`]. A handler that
    /// answers no attempt so need not say.
    fn has_room(&self) -> BoxFuture<'_, Result<bool, Failure>> {
        std::future::ready(Ok(true)).boxed()
    }

    /// How often [`Handler::reconcile`] is called; never, where there is nothing to reconcile.
    fn reconcile_interval(&self) -> Option<Duration> {
        None
    }

    /// Removes what attempts have left behind. Logs and counts what it finds itself.
    fn reconcile(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// What one entry asks for.
pub trait Request: Send + Sync + std::fmt::Debug {
    /// Of two jobs with the same lane this process handles the later one when the earlier one has ended. For start jobs the
    /// game, which is also what log lines call it.
    fn lane(&self) -> &str;

    /// What the job is made of, as far as a failure may come from that alone: jobs of one variety may all fail on a healthy
    /// host. For start jobs the image. The lane, where a handler does not say.
    fn variety(&self) -> &str {
        self.lane()
    }

    /// When the job was requested, in Unix milliseconds; 0 where it does not say.
    fn requested_at_ms(&self) -> i64;

    /// Does what the job asks for. Called again after a failure, after a crash, and by other replicas: whatever an earlier
    /// call has begun must be found again.
    fn handle<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Answer, Failure>>;

    /// Ends a job that is not to be tried again. Answers what is to be published: the failure, or the answer that an earlier
    /// attempt had stored.
    fn give_up<'a>(&'a self, attempt: &'a Attempt, why: GiveUp) -> BoxFuture<'a, Result<Answer, Failure>>;
}

/// One attempt at a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The entry.
    pub id: EntryId,
    /// The consumer name of the dead replica that the entry was taken from; no later replica has this name. A lease of that
    /// replica need not be waited for. The replica may live after all, so what it still writes must be refused by other means.
    pub dead_owner: Option<Arc<str>>,
    /// How often it has been delivered.
    pub(crate) deliveries: u64,
    /// Its slot, to be given up while it waits for what takes nothing from this replica.
    pub slot: Slot,
    /// Where spans of what it does go.
    pub scope: Scope,
}

/// Why a job is not tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveUp {
    /// The code of the failure.
    pub code: ErrorCode,
    /// Its text, for people.
    pub message: String,
    /// The job goes to the dead letters too, for this reason.
    pub reason: Option<Reason>,
}

/// The answer to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What is published.
    pub outcome: Outcome,
    /// What it says, for log and metrics.
    pub kind: OutcomeKind,
    /// The published error code, for the log; empty for a success that did the work.
    pub error_code: Cow<'static, str>,
    /// The same from a closed list, for the metrics.
    pub label: OutcomeCode,
    /// The job goes to the dead letters too.
    pub dead_letter: Option<Condemned>,
}

/// What a dead letter says about the end of its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condemned {
    /// `reason`
    pub reason: Reason,
    /// `detail`
    pub detail: String,
}

/// Nothing was decided about the job: its entry stays pending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Another attempt in this lane is under way. Never counts against the job's budget.
    #[error("another attempt for this game is in progress")]
    InProgress {
        /// When it is worth asking again, at the latest.
        retry_after: Option<Duration>,
    },
    /// The replica has dismissed the attempt while it waited without its slot ([`Slot::without`]): the entry goes back. Never
    /// counts.
    #[error(transparent)]
    Dismissed(#[from] Dismissed),
    /// A newer attempt has taken over. Never counts.
    #[error("a newer attempt has taken over")]
    TakenOver,
    /// The job is placed on another host: a replica of that host must do it. Never counts.
    #[error("the job is placed on host {host}")]
    Elsewhere {
        /// What [`Handler::host`] of its replicas answers.
        host: Arc<str>,
    },
    /// This host has no room for the job, which is a fact and says nothing about the job. Another host may have it; else the job
    /// waits, however long. Never counts, and is never published.
    #[error("{code}: {message}")]
    NoRoom {
        /// For the log.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// The store did not answer, or refused. Never counts.
    #[error("state store: {0}")]
    Store(RedisError),
    /// It failed for a reason that may pass. Counts, unless it is [`ErrorCode::EngineUnavailable`] and the engine answers to no
    /// one, or the host is sick and may be to blame.
    #[error("{code}: {message}")]
    Failed {
        /// Published once the budget is spent.
        code: ErrorCode,
        /// For people.
        message: String,
        /// Whose fault it may be.
        blame: Blame,
    },
    /// A service that the job needs asks to be left alone for a while.
    #[error("{code}: {message}; not again for {after:?}")]
    NotBefore {
        /// Published once the budget is spent.
        code: ErrorCode,
        /// For people.
        message: String,
        /// For how long.
        after: Duration,
        /// The service said so to this attempt, which counts as one that failed. Else it was not asked.
        is_counted: bool,
    },
}

impl Failure {
    /// The code of the failure, where it has one.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::NoRoom { code, .. } | Self::Failed { code, .. } | Self::NotBefore { code, .. } => Some(*code),
            Self::InProgress { .. }
            | Self::Dismissed(_)
            | Self::TakenOver
            | Self::Elsewhere { .. }
            | Self::Store(_) => None,
        }
    }

    /// Its words without the code.
    pub(crate) fn words(&self) -> Cow<'_, str> {
        match self {
            Self::NoRoom { message, .. } | Self::Failed { message, .. } | Self::NotBefore { message, .. } => {
                message.into()
            }
            other => other.to_string().into(),
        }
    }
}

/// Whose fault a failure may be. By failures that are not the job's own a replica notices that its host is sick; what was
/// counted for them is given back then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The job's own: it fails in the same way on every host.
    Job,
    /// The job's own or that of the host.
    Unclear,
    /// The host's, for sure: it has no space or no port left, or its engine hangs.
    Engine,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A request that only has a lane.
    #[derive(Debug)]
    pub(crate) struct AskedFor(String);

    impl AskedFor {
        pub(crate) fn in_lane(lane: &str) -> Arc<dyn Request> {
            Arc::new(Self(lane.to_owned()))
        }
    }

    impl Request for AskedFor {
        fn lane(&self) -> &str {
            &self.0
        }

        fn requested_at_ms(&self) -> i64 {
            0
        }

        fn handle<'a>(&'a self, _attempt: &'a Attempt) -> BoxFuture<'a, Result<Answer, Failure>> {
            std::future::ready(Err(Failure::TakenOver)).boxed()
        }

        fn give_up<'a>(&'a self, _attempt: &'a Attempt, _why: GiveUp) -> BoxFuture<'a, Result<Answer, Failure>> {
            std::future::ready(Err(Failure::TakenOver)).boxed()
        }
    }

    /// A handler of entries that name a lane.
    #[derive(Debug)]
    pub(crate) struct Asking;

    impl Handler for Asking {
        fn decode(&self, fields: &Fields) -> Result<Arc<dyn Request>, String> {
            let (_, lane) = fields.first().ok_or("missing lane")?;
            Ok(AskedFor::in_lane(&String::from_utf8_lossy(lane)))
        }

        fn job_fields(&self) -> (&'static [&'static str], usize) {
            (&["lane"], 64)
        }

        fn outcome_fields(&self) -> &'static [&'static str] {
            &["result"]
        }

        fn engine(&self) -> &'static str {
            "none"
        }

        fn is_up(&self) -> BoxFuture<'_, Result<(), String>> {
            std::future::ready(Ok(())).boxed()
        }
    }
}
