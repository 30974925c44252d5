//! The alerts of deploy/monitoring/alerts.yml as this program knows them: names, limits, and for how long a limit must be
//! passed. A test holds every line of it against that file.

use std::time::Duration;

/// One alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Its name in the file; in small letters its heading in docs/runbooks.md.
    pub name: &'static str,
    /// `critical`, `warning` or `info`.
    pub severity: &'static str,
    /// What is wrong when it fires, for people.
    pub summary: &'static str,
    /// For how long its condition must be true before it fires.
    pub held_for: Duration,
    /// Every comparison with a number in its expression, in order.
    pub limits: &'static [Limit],
    /// Over what time its expression looks back, in minutes, in order and once each.
    pub windows_min: &'static [u64],
}

/// A comparison with a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// What is compared.
    pub metric: &'static str,
    /// `>`, `<` or `==`
    pub sign: &'static str,
    /// With what.
    pub value: f64,
}

impl Rule {
    /// What decides it, and the limit that is shown beside the value.
    pub(crate) fn limit(&self) -> Limit {
        self.limits[0]
    }

    /// How far it looks back.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(60 * self.windows_min.first().copied().unwrap_or_default())
    }

    /// Where it says what to do.
    pub fn runbook(&self) -> String {
        format!("docs/runbooks.md#{}", self.name.to_lowercase())
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

const fn above(metric: &'static str, value: f64) -> Limit {
    Limit { metric, sign: ">", value }
}

const fn below(metric: &'static str, value: f64) -> Limit {
    Limit { metric, sign: "<", value }
}

const fn is(metric: &'static str, value: f64) -> Limit {
    Limit { metric, sign: "==", value }
}

const PAUSED: Limit = is("startjobs_paused", 1.0);
const START: &str = "process_start_time_seconds";

/// No replica is there.
pub(crate) const NO_REPLICAS: Rule = Rule {
    name: "NoReplicas",
    severity: "critical",
    summary: "No startjobs replica is there",
    held_for: minutes(2),
    limits: &[below("startjobs_replicas", 1.0)],
    windows_min: &[60],
};

/// A replica has died.
pub(crate) const REPLICA_LOST: Rule = Rule {
    name: "ReplicaLost",
    severity: "warning",
    summary: "A replica ended without signing off",
    held_for: minutes(1),
    limits: &[above("startjobs_replicas_lost", 0.0)],
    windows_min: &[],
};

/// More arrives than is taken.
pub(crate) const BACKLOG_GROWING: Rule = Rule {
    name: "BacklogGrowing",
    severity: "warning",
    summary: "The backlog of start jobs grows",
    held_for: minutes(10),
    limits: &[above("startjobs_backlog", 100.0), above("startjobs_backlog", 0.0), PAUSED],
    windows_min: &[10],
};

/// A job waits too long.
pub(crate) const OLDEST_WAITING: Rule = Rule {
    name: "OldestWaitingTooOld",
    severity: "critical",
    summary: "A start job has waited too long",
    held_for: minutes(2),
    limits: &[above("startjobs_oldest_waiting_seconds", 60.0), PAUSED],
    windows_min: &[],
};

/// Jobs are given up.
pub(crate) const DEAD_LETTERS: Rule = Rule {
    name: "DeadLettersGrowing",
    severity: "warning",
    summary: "Start jobs end as dead letters",
    held_for: minutes(1),
    limits: &[above("startjobs_dead_letters_total", 0.0)],
    windows_min: &[15],
};

/// Entries go from hand to hand.
pub(crate) const CLAIM_STORM: Rule = Rule {
    name: "ClaimStorm",
    severity: "warning",
    summary: "Replicas keep taking over each other's entries",
    held_for: minutes(10),
    limits: &[above("startjobs_entries_received_total", 20.0), above("startjobs_entries_received_total", 0.5)],
    windows_min: &[10],
};

/// An autoscaler that uses the lag does not work.
pub(crate) const LAG_UNKNOWN: Rule = Rule {
    name: "LagUnknown",
    severity: "info",
    summary: "Redis does not know the group's lag",
    held_for: minutes(15),
    limits: &[is("startjobs_stream_lag_known", 0.0)],
    windows_min: &[],
};

/// No Redis.
pub(crate) const REDIS_DOWN: Rule = Rule {
    name: "RedisDown",
    severity: "critical",
    summary: "Redis does not answer the workers",
    held_for: minutes(1),
    limits: &[is("startjobs_condition", 1.0)],
    windows_min: &[],
};

/// Redis answers, and takes no write.
pub(crate) const REDIS_REFUSES: Rule = Rule {
    name: "RedisRefusesWrites",
    severity: "critical",
    summary: "Redis refuses what the workers write",
    held_for: minutes(1),
    limits: &[is("startjobs_condition", 1.0)],
    windows_min: &[],
};

/// No engine.
pub(crate) const ENGINE_DOWN: Rule = Rule {
    name: "EngineDown",
    severity: "critical",
    summary: "The container engine does not answer the workers",
    held_for: minutes(2),
    limits: &[is("startjobs_condition", 1.0)],
    windows_min: &[],
};

/// A replica that should read and does not.
pub(crate) const WORKER_STUCK: Rule = Rule {
    name: "WorkerStuck",
    severity: "critical",
    summary: "A replica does not read although entries wait",
    held_for: minutes(5),
    limits: &[
        above("startjobs_last_read_timestamp_seconds", 120.0),
        above("startjobs_backlog", 0.0),
        PAUSED,
        is("startjobs_draining", 1.0),
        is("startjobs_condition", 1.0),
    ],
    windows_min: &[],
};

/// A replica that does not stay up.
pub(crate) const RESTART_LOOP: Rule = Rule {
    name: "RestartLoop",
    severity: "warning",
    summary: "A replica is restarted again and again",
    held_for: minutes(1),
    limits: &[above(START, 3.0)],
    windows_min: &[15],
};

/// One entry holds the way back.
pub(crate) const MIRROR_HELD: Rule = Rule {
    name: "MirrorHeldBack",
    severity: "warning",
    summary: "The offset mirror does not move",
    held_for: minutes(5),
    limits: &[above("startjobs_mirror_held_seconds", 1200.0)],
    windows_min: &[],
};

/// Another worker writes the offset.
pub(crate) const FOREIGN_OFFSET: Rule = Rule {
    name: "ForeignOffset",
    severity: "critical",
    summary: "Another program writes the legacy offset",
    held_for: minutes(1),
    limits: &[
        above("startjobs_mirror_foreign_total", 0.0),
        above("startjobs_adoptions_total", 0.0),
        below(START, 900.0),
        above("startjobs_adoptions_total", 0.0),
    ],
    windows_min: &[15],
};

/// Entries fell out of the group.
pub(crate) const ORPHANS: Rule = Rule {
    name: "OrphansFound",
    severity: "warning",
    summary: "Entries were missing from the pending list",
    held_for: minutes(1),
    limits: &[above("startjobs_orphans_total", 0.0), above("startjobs_renewals_total", 0.0)],
    windows_min: &[15],
};

/// Payloads are gone.
pub(crate) const ENTRIES_LOST: Rule = Rule {
    name: "EntriesLost",
    severity: "critical",
    summary: "Entries were deleted from the stream while pending",
    held_for: minutes(1),
    limits: &[above("startjobs_entries_lost_total", 0.0)],
    windows_min: &[15],
};

/// No further entry is taken.
pub(crate) const STREAM_EXHAUSTED: Rule = Rule {
    name: "StreamExhausted",
    severity: "critical",
    summary: "A stream has used the largest possible id and accepts no entry",
    held_for: minutes(1),
    limits: &[above("startjobs_streams_exhausted", 0.0)],
    windows_min: &[],
};

/// The log has gaps.
pub(crate) const LOG_LINES_DROPPED: Rule = Rule {
    name: "LogLinesDropped",
    severity: "warning",
    summary: "Log lines of a replica are lost",
    held_for: minutes(1),
    limits: &[above("startjobs_log_lines_dropped_total", 0.0)],
    windows_min: &[15],
};

/// A death would be noticed late.
pub(crate) const DISCONNECT_NOTICE_OFF: Rule = Rule {
    name: "DisconnectNoticeOff",
    severity: "info",
    summary: "The death of a replica would be noticed late",
    held_for: minutes(15),
    limits: &[is("startjobs_disconnect_notice", 0.0), is("startjobs_draining", 1.0), is("startjobs_condition", 1.0)],
    windows_min: &[],
};

/// A replica lived and was taken for dead.
pub(crate) const DECLARED_DEAD_ALIVE: Rule = Rule {
    name: "DeclaredDeadAlive",
    severity: "warning",
    summary: "A living replica was declared dead",
    held_for: minutes(1),
    limits: &[above("startjobs_declared_dead_total", 0.0)],
    windows_min: &[15],
};

/// A host is silent.
pub(crate) const HOST_DEAD: Rule = Rule {
    name: "HostDead",
    severity: "critical",
    summary: "A host on which games run is dead",
    held_for: minutes(1),
    limits: &[above("startjobs_hosts", 0.0)],
    windows_min: &[],
};

/// A policy file that is gone or broken.
pub(crate) const POLICY_BROKEN: Rule = Rule {
    name: "PolicyBroken",
    severity: "warning",
    summary: "A replica cannot use its policy file",
    held_for: minutes(5),
    limits: &[is("startjobs_condition", 1.0)],
    windows_min: &[],
};

/// A host with as many games as it may have.
pub(crate) const HOST_FULL: Rule = Rule {
    name: "HostFull",
    severity: "warning",
    summary: "A host has no room for further games",
    held_for: minutes(10),
    limits: &[is("startjobs_condition", 1.0)],
    windows_min: &[],
};

/// All of them, in the order of the file.
pub const ALL: [Rule; 23] = [
    NO_REPLICAS,
    REPLICA_LOST,
    BACKLOG_GROWING,
    OLDEST_WAITING,
    DEAD_LETTERS,
    CLAIM_STORM,
    LAG_UNKNOWN,
    REDIS_DOWN,
    REDIS_REFUSES,
    ENGINE_DOWN,
    WORKER_STUCK,
    RESTART_LOOP,
    MIRROR_HELD,
    FOREIGN_OFFSET,
    ORPHANS,
    ENTRIES_LOST,
    STREAM_EXHAUSTED,
    LOG_LINES_DROPPED,
    DISCONNECT_NOTICE_OFF,
    DECLARED_DEAD_ALIVE,
    HOST_DEAD,
    POLICY_BROKEN,
    HOST_FULL,
];
