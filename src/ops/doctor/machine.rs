//! The limits of this machine's processes.

use rustix::process::{Resource, getrlimit};

use super::finding::Finding;

/// Files a worker has open besides its starts: connections, logs, the runtime's own.
const FILES_BESIDES: u64 = 64;
/// Files one start may have open: a call to the engine and a look whether the game is ready.
const FILES_PER_START: u64 = 4;

/// Looks at the limits a worker would have if it were started from here.
pub(super) fn machine(slots: usize) -> Vec<Finding> {
    let needed = FILES_BESIDES + FILES_PER_START * u64::try_from(slots).unwrap_or(u64::MAX / FILES_PER_START / 2);
    let found = |limit: &str| format!("{limit} open files allowed, {slots} slots need about {needed}");
    vec![match getrlimit(Resource::Nofile).current {
        None => Finding::ok("files", found("any number of")),
        Some(limit) if limit < needed => Finding::fail(
            "files",
            found(&limit.to_string()),
            "raise `ulimit -n` (systemd: LimitNOFILE), or lower slots",
        ),
        Some(limit) => Finding::ok("files", found(&limit.to_string())),
    }]
}
