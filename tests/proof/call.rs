//! One step of a sequence, with everything that it is called with.

use crate::ids::Id;
use crate::model::record::Verb;

/// What the settings say, in ms.
pub const CLAIM_IDLE: u64 = 30_000;
pub const GRACE: u64 = 300;
pub const SWEEP_EVERY: u64 = 10_000;
pub const TIDY_EVERY: u64 = 60_000;
pub const CONSUMER_IDLE: u64 = 7_200_000;
pub const LEDGER_TTL: u64 = 24 * Id::HOUR;
/// More crashes condemn a job.
pub const CRASH_BUDGET: u64 = 4;
pub const SLOTS: u64 = 2;

/// How an entry is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process has heard that it is settled.
    Known,
    Success,
    Malformed,
    /// A failure and a dead letter.
    GivenUp,
}

#[derive(Debug, Clone)]
pub enum Call {
    Append,
    AppendAt(Id),
    Read {
        me: String,
        count: u64,
        is_lost: bool,
    },
    Settle {
        me: String,
        batch: Vec<(Id, End)>,
        held: usize,
    },
    Renew {
        me: String,
        serves: bool,
        ids: Vec<Id>,
        generation: u64,
    },
    Sweep {
        me: String,
        mode: &'static str,
        want: usize,
        holds_nothing: bool,
        is_lost: bool,
        generation: u64,
    },
    HandBack {
        me: String,
        ids: Vec<Id>,
        rewinds: bool,
    },
    HandOver {
        me: String,
        orders: Vec<(Id, String)>,
    },
    Leave {
        me: String,
    },
    Adopt {
        me: String,
    },
    Tidy {
        me: String,
        trims: bool,
    },
    History {
        me: String,
        ids: Vec<Id>,
    },
    Fail {
        me: String,
        id: Id,
        passed: u64,
    },
    Withdraw {
        me: String,
        counts: Vec<(Id, u64)>,
    },
    /// `only_marks`: its record names an attempt.
    Cancel {
        id: Id,
        only_marks: bool,
    },
    RetryNow {
        id: Id,
    },
    Tell {
        me: String,
        ids: Vec<Id>,
    },
    Requeue {
        ids: Vec<Id>,
    },
    RemoveDead {
        ids: Vec<Id>,
    },
    Record {
        game: u64,
        verb: Verb,
    },
    // What operators, other programs and faults do.
    Subscribe(String),
    Unsubscribe(String),
    Destroy,
    DropConsumer(String),
    Ack(Id),
    Delete(Id),
    TrimTo(u64),
    SetId(Id),
    DropStream,
    Snapshot,
    Restore,
    Pass(u64),
    Legacy(usize),
    Pause,
    Resume,
}

/// On which of the two hosts a consumer is: the second letter of its name says which.
pub fn host_of(me: &str) -> String {
    format!("h{}", &me[1..2])
}

/// What a replica says about itself.
pub fn about(me: &str, serves: bool) -> String {
    let serves = if serves { "" } else { r#","serves":false"# };
    format!(r#"{{"claim_idle_ms":{CLAIM_IDLE},"engine_host":"{}","slots":{SLOTS}{serves}}}"#, host_of(me))
}
