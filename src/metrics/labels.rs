//! Every label and its closed list of values: what is exported, what docs/metrics.md lists, and nothing else.

use std::fmt::{self, Debug};
use std::hash::Hash;

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};

use crate::contract::dead_letter::Reason;
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::{Answer, REPLAY_NO_OP};
use crate::stream::Origin;
use crate::stream::adopt::AdoptionState;
use crate::stream::presence::Noticed;
use crate::stream::renew::Renewal;
use crate::stream::settle::Settled;
use crate::stream::tally::Told;
use crate::version::{REVISION, RUSTC, VERSION};

/// A label whose values are a closed list.
pub(crate) trait Label: Copy + Eq + Hash + Debug + Send + Sync + 'static {
    /// The label's name.
    const NAME: &'static str;

    /// Every value, in the order of the documentation.
    fn all() -> Vec<Self>;

    /// The value as it is exported.
    fn text(self) -> &'static str;
}

/// The label set of a metric with one label; a metric with two has a pair of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Labelled<L>(pub(super) L);

impl<L: Label> EncodeLabelSet for Labelled<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        (L::NAME, self.0.text()).encode(encoder.encode_label())
    }
}

/// The one label without a closed list: it is part of exemplars, and names no series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub(crate) u128);

impl EncodeLabelSet for TraceId {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("trace_id", format!("{:032x}", self.0)).encode(encoder.encode_label())
    }
}

/// Declares a label with its values.
macro_rules! label {
    ($(#[$doc:meta])* $label:ident = $name:literal { $($(#[$of_value:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $label { $($(#[$of_value])* $value,)+ }

        impl $label {
            /// The value as it is exported.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }

        impl Label for $label {
            const NAME: &'static str = $name;

            fn all() -> Vec<Self> {
                vec![$(Self::$value,)+]
            }

            fn text(self) -> &'static str {
                self.as_str()
            }
        }
    };
}

label! {
    /// How an entry left this process in a settle call.
    SettleResult = "result" {
        /// Its outcome or dead letter was published, and it was acknowledged.
        Done = "done",
        /// It had been settled before.
        Duplicate = "duplicate",
        /// Another consumer has it.
        Lost = "lost",
        /// It is not in the stream.
        Unknown = "unknown",
        /// It is older than the ledger and not pending.
        Expired = "expired",
        /// Redis refused to publish it.
        Refused = "refused",
        /// The call did not come to it.
        Skipped = "skipped",
    }
}

impl From<&Settled> for SettleResult {
    fn from(settled: &Settled) -> Self {
        match settled {
            Settled::Done => Self::Done,
            Settled::Duplicate => Self::Duplicate,
            Settled::Lost => Self::Lost,
            Settled::Unknown => Self::Unknown,
            Settled::Expired => Self::Expired,
            Settled::Refused(_) => Self::Refused,
            Settled::Skipped => Self::Skipped,
        }
    }
}

label! {
    /// What keeping the records of a host true has changed.
    RecordChange = "change" {
        /// A game had ended.
        Ended = "ended",
        /// A game answers elsewhere on its host.
        Moved = "moved",
        /// A game that had ended runs again.
        Revived = "revived",
        /// A running game had no record.
        Rebuilt = "rebuilt",
        /// A container that no record names is removed.
        Removed = "removed",
        /// The engine did not remove such a container.
        NotRemoved = "not_removed",
    }
}

label! {
    /// What is known about a host.
    HostStanding = "standing" {
        /// It has been heard of within its heartbeat.
        Alive = "alive",
        /// It has not.
        Dead = "dead",
    }
}

label! {
    /// What a published outcome says.
    OutcomeKind = "outcome" {
        /// The game runs.
        Success = "success",
        /// It does not.
        Failure = "failure",
    }
}

/// The `error_code` of a published outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutcomeCode {
    /// A success that started a container.
    Started,
    /// A success that found one running.
    Replayed,
    /// A failure.
    Failed(ErrorCode),
    /// A code that this version does not know: a stored answer may come from another version.
    Other,
}

impl From<&Answer> for OutcomeKind {
    fn from(answer: &Answer) -> Self {
        match answer {
            Answer::Success { .. } => Self::Success,
            Answer::Failure { .. } => Self::Failure,
        }
    }
}

impl From<&Answer> for OutcomeCode {
    fn from(answer: &Answer) -> Self {
        let text = answer.error_code();
        Self::all().into_iter().find(|code| code.text() == text).unwrap_or(Self::Other)
    }
}

impl OutcomeCode {
    /// The same for the history of the fleet.
    pub(crate) fn told(self) -> Told {
        match self {
            Self::Started => Told::Started,
            Self::Replayed => Told::Replayed,
            Self::Failed(code) => Told::Failed(code),
            Self::Other => Told::FailedOtherwise,
        }
    }
}

impl Label for OutcomeCode {
    const NAME: &'static str = "error_code";

    fn all() -> Vec<Self> {
        let codes = ErrorCode::ALL.into_iter().map(Self::Failed);
        [Self::Started, Self::Replayed].into_iter().chain(codes).chain([Self::Other]).collect()
    }

    fn text(self) -> &'static str {
        match self {
            Self::Started => "",
            Self::Replayed => REPLAY_NO_OP,
            Self::Failed(code) => code.as_str(),
            Self::Other => "other",
        }
    }
}

/// Both labels of a published outcome.
pub(super) type OutcomeLabels = (Labelled<OutcomeKind>, Labelled<OutcomeCode>);

/// The pairs of `outcome` and `error_code` that exist.
pub(super) fn outcomes() -> Vec<OutcomeLabels> {
    let kind_of = |code| match code {
        OutcomeCode::Started | OutcomeCode::Replayed => OutcomeKind::Success,
        OutcomeCode::Failed(_) | OutcomeCode::Other => OutcomeKind::Failure,
    };
    OutcomeCode::all().into_iter().map(|code| (Labelled(kind_of(code)), Labelled(code))).collect()
}

label! {
    /// Whether an attempt counted against its job's budget.
    Counted = "counted" {
        /// The start service failed.
        Yes = "yes",
        /// Another reason, which is not the job's fault.
        No = "no",
    }
}

label! {
    /// What a claim sweep found.
    SweepResult = "result" {
        /// Another replica has swept within the interval.
        NotDue = "not_due",
        /// There are entries to claim, and this replica has no room for them yet.
        Found = "found",
        /// There are entries to run alone, and this replica holds others.
        Suspects = "suspects",
        /// Nothing to claim.
        Nothing = "nothing",
        /// Entries were claimed.
        Claimed = "claimed",
        /// Redis did not answer, or refused.
        Error = "error",
    }
}

label! {
    /// What can be wrong with a replica or with what it needs.
    Trouble = "condition" {
        /// Redis does not answer. Any call that succeeds ends it.
        Redis = "redis",
        /// Redis refuses to read new entries.
        Read = "read",
        /// Redis refuses to read the payloads of claimed entries.
        Fetch = "fetch",
        /// Redis refuses to look up the history of new entries.
        Admit = "admit",
        /// The start service's store is unreachable or refuses.
        Store = "store",
        /// Redis refuses to settle.
        Settle = "settle",
        /// Redis refuses to renew.
        Renew = "renew",
        /// Redis refuses to claim.
        Claim = "claim",
        /// Redis refuses the janitor.
        Tidy = "tidy",
        /// The group or its stream is gone.
        Group = "group",
        /// The container engine does not answer, or its host is sick.
        Engine = "engine",
        /// The host has as many games as its policy allows.
        HostFull = "host_full",
        /// The policy file is gone or broken; the policy that holds stays.
        Policy = "policy",
    }
}

label! {
    /// A call to Redis whose duration is exported.
    RedisOperation = "operation" {
        /// Look up the history of new entries.
        Past = "past",
        /// Settle a batch.
        Settle = "settle",
        /// Renew what this replica holds.
        Renew = "renew",
        /// Sweep for entries to claim.
        Claim = "claim",
        /// Read the payloads of claimed entries.
        Fetch = "fetch",
        /// Give unstarted entries back.
        HandBack = "hand_back",
        /// Hand entries over to replicas of other hosts.
        HandOver = "hand_over",
        /// Run the janitor.
        Janitor = "janitor",
        /// Make the group usable.
        Adopt = "adopt",
    }
}

label! {
    /// A call to the container engine whose duration is exported.
    EngineOperation = "operation" {
        /// Ask whether it answers.
        Ping = "ping",
        /// Look for an image.
        HasImage = "has_image",
        /// Bring an image from its registry.
        Pull = "pull",
        /// Look at one container.
        Find = "find",
        /// Create a container.
        Create = "create",
        /// Start a container.
        Start = "start",
        /// Thaw a paused container.
        Unpause = "unpause",
        /// Ask a container to end.
        Stop = "stop",
        /// Remove a container.
        Remove = "remove",
        /// List containers.
        List = "list",
    }
}

/// How a call to the container engine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EngineResult {
    /// It was done.
    Ok,
    /// The name is taken, or the container or image is not there: an answer, and no failure of the engine.
    Refused,
    /// It failed.
    Failed(ErrorCode),
}

impl Label for EngineResult {
    const NAME: &'static str = "result";

    fn all() -> Vec<Self> {
        [Self::Ok, Self::Refused].into_iter().chain(ErrorCode::ALL.into_iter().map(Self::Failed)).collect()
    }

    fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed(code) => code.as_str(),
        }
    }
}

label! {
    /// How a look at the fleet's streams ended.
    SampleResult = "result" {
        /// The gauges of the streams are current.
        Ok = "ok",
        /// They are not.
        Failed = "failed",
    }
}

/// A label whose values another module owns.
macro_rules! label_elsewhere {
    ($label:ident = $name:literal { $($value:ident),+ }) => {
        impl Label for $label {
            const NAME: &'static str = $name;

            fn all() -> Vec<Self> {
                vec![$(Self::$value),+]
            }

            fn text(self) -> &'static str {
                self.as_str()
            }
        }
    };
}

impl Label for Origin {
    const NAME: &'static str = "origin";

    fn all() -> Vec<Self> {
        vec![Self::New, Self::Claimed, Self::Found, Self::Handed]
    }

    fn text(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Claimed => "claimed",
            Self::Found => "found",
            Self::Handed => "handed",
        }
    }
}

label_elsewhere!(Reason = "reason" { Malformed, Poison, RetriesExhausted, EntryLost, TooLarge });
label_elsewhere!(Renewal = "result" { Mine, Trimmed, Restored, Other, Settled, Absent });
label_elsewhere!(Noticed = "by" { Disconnect, Silence });
label_elsewhere!(AdoptionState = "state" { Created, Adopted, Foreign, Existed });

/// A label's name and its values.
pub(crate) type Listed = (&'static str, Vec<&'static str>);

/// The labels of a metric by its name as it is exported, in the order in which they are exported; none for most.
pub fn of(metric: &str) -> Vec<Listed> {
    match metric {
        "startjobs_entries_received_total" => vec![listed::<Origin>()],
        "startjobs_entries_settled_total" => vec![listed::<SettleResult>()],
        "startjobs_outcomes_total" => vec![listed::<OutcomeKind>(), listed::<OutcomeCode>()],
        "startjobs_dead_letters_total" => vec![listed::<Reason>()],
        "startjobs_retries_total" => vec![listed::<Counted>()],
        "startjobs_claim_sweeps_total" => vec![listed::<SweepResult>()],
        "startjobs_renewals_total" => vec![listed::<Renewal>()],
        "startjobs_records_changed_total" => vec![listed::<RecordChange>()],
        "startjobs_conditions_total" | "startjobs_condition" => vec![listed::<Trouble>()],
        "startjobs_deaths_noticed_total" => vec![listed::<Noticed>()],
        "startjobs_adoptions_total" => vec![listed::<AdoptionState>()],
        "startjobs_redis_request_duration_seconds" => vec![listed::<RedisOperation>()],
        "startjobs_engine_request_duration_seconds" => vec![listed::<EngineOperation>(), listed::<EngineResult>()],
        "startjobs_hosts" => vec![listed::<HostStanding>()],
        "startjobs_group_samples_total" => vec![listed::<SampleResult>()],
        "startjobs_build_info" => {
            vec![("version", vec![VERSION]), ("revision", vec![REVISION]), ("rustc", vec![RUSTC])]
        }
        _ => Vec::new(),
    }
}

fn listed<L: Label>() -> Listed {
    (L::NAME, L::all().into_iter().map(L::text).collect())
}
