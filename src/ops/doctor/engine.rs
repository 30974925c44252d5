//! Engine, fleet and records together: whose engine it is, and whether the records say what runs there.

use super::finding::Finding;

/// What was seen of an engine with the eyes of its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineSeen {
    /// `engine-host-id` is set.
    pub(crate) has_id: bool,
    /// The fleets that have used it.
    pub(crate) fleets: Fleets,
    /// Its containers beside the records.
    pub(crate) compared: Compared,
}

/// The fleets that have used an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fleets {
    /// Their names.
    Known(Vec<String>),
    /// The engine, or a proxy before it, refuses to keep names; its words.
    Refused(String),
    /// It did not answer.
    Silent,
}

/// The containers of an engine beside the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compared {
    /// So many containers were looked at, and so many changes are due.
    Seen {
        /// The host's name.
        host: String,
        /// Containers of the fleet.
        containers: usize,
        /// Records that say something else, and containers that no record names.
        differing: usize,
    },
    /// No replica has worked with this engine yet.
    Unsettled,
    /// Why nothing was compared.
    Failed(String),
}

/// What is to be said of that. Pure.
pub(crate) fn engine_seen(seen: &EngineSeen) -> Vec<Finding> {
    fleets(seen).into_iter().chain([compared(&seen.compared)]).collect()
}

fn fleets(seen: &EngineSeen) -> Option<Finding> {
    const ABOUT: &str = "fleets";
    Some(match &seen.fleets {
        Fleets::Silent => return None,
        Fleets::Known(names) if names.len() > 1 => Finding::warn(
            ABOUT,
            format!("{} fleets have used this engine: {}", names.len(), names.join(", ")),
            "give each fleet an engine of its own; a fleet that is gone: docker volume rm rtm-fleet-NAME",
        ),
        Fleets::Known(names) => Finding::ok(ABOUT, names.first().cloned().unwrap_or_else(|| "none yet".to_owned())),
        Fleets::Refused(words) if seen.has_id => {
            Finding::ok(ABOUT, format!("the engine keeps no names ({words}); engine-host-id is set"))
        }
        Fleets::Refused(words) => Finding::fail(
            ABOUT,
            format!("the engine keeps no name for this host: {words}"),
            "set engine-host-id, a different one on every host, or allow volumes",
        ),
    })
}

fn compared(compared: &Compared) -> Finding {
    const ABOUT: &str = "records";
    match compared {
        Compared::Seen { host, containers, differing: 0 } => {
            Finding::ok(ABOUT, format!("{containers} containers on host {host}, every one as its record says"))
        }
        Compared::Seen { host, containers, differing } => Finding::warn(
            ABOUT,
            format!("{containers} containers on host {host}, and {differing} differ from their records"),
            "the replicas of that host correct it within 10 s; look again, then: startjobs runtime reconcile --dry-run",
        ),
        Compared::Unsettled => Finding::ok(ABOUT, "no replica has worked with this engine yet"),
        Compared::Failed(why) => {
            Finding::warn(ABOUT, format!("not compared: {why}"), "look at the engine and at Redis")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::Level;

    fn levels(has_id: bool, fleets: Fleets, compared: Compared) -> Vec<Level> {
        engine_seen(&EngineSeen { has_id, fleets, compared }).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn what_is_wrong_with_an_engine_is_told() {
        use Level::{Fail, Ok, Warn};
        let seen = |differing| Compared::Seen { host: "h".into(), containers: 3, differing };
        let one = || Fleets::Known(vec!["a".into()]);
        assert_eq!(levels(false, one(), seen(0)), [Ok, Ok]);
        assert_eq!(levels(false, Fleets::Known(vec![]), Compared::Unsettled), [Ok, Ok]);
        assert_eq!(levels(false, one(), seen(2)), [Ok, Warn]);
        assert_eq!(levels(false, Fleets::Known(vec!["a".into(), "b".into()]), seen(0)), [Warn, Ok]);
        assert_eq!(levels(false, Fleets::Refused("no".into()), seen(0)), [Fail, Ok]);
        assert_eq!(levels(true, Fleets::Refused("no".into()), seen(0)), [Ok, Ok]);
        assert_eq!(levels(true, Fleets::Silent, Compared::Failed("x".into())), [Warn]);
    }
}
