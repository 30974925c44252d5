//! What a stage wants done. A command becomes one call, which ends with one event, or takes effect at once.

use super::batch::Batch;
use super::held::{EntryKey, Held};
use super::job::Away;
use crate::slot::{Dismissal, Grant};
use crate::stream::claim::Aim;
use crate::stream::entry_id::EntryId;
use crate::stream::fetch::Want;
use crate::stream::tell::Report;
use crate::worker::work::Ticket;

/// Something to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Wait for at most so many new entries.
    Read {
        /// How many.
        count: usize,
        /// A call was lost while no read waited: the reader's connection may have died too, and nothing on it would tell.
        over_new_connection: bool,
    },
    /// Make the read that waits return now.
    InterruptRead,
    /// Drop the connection of a read that does not return.
    DropReader,
    /// Look for stale pending entries, or claim them.
    Sweep {
        /// Which entries it is after.
        aim: Aim,
        /// How many.
        want: usize,
        /// This replica holds nothing, and may run a suspect.
        holds_nothing: bool,
    },
    /// Ask the ledger and the attempts about these entries.
    LookUp(Vec<Held>),
    /// Read these payloads.
    Fetch(Vec<(Held, Want)>),
    /// Read one payload that did not arrive together with others.
    FetchStuck(Held, Want),
    /// End the reading of payloads that is under way.
    EndFetches,
    /// Begin one attempt.
    Start(Ticket),
    /// Let an attempt go on that has a slot again.
    Resume(EntryKey, Grant),
    /// End an attempt that waits without a slot.
    Dismiss(Dismissal),
    /// Publish, acknowledge, and move the mirror.
    Settle(Batch),
    /// Give these entries back.
    HandBack(Vec<Held>),
    /// Withdraw so many counted failures of each of these entries.
    WithdrawFailures(Vec<(EntryId, u64)>),
    /// Hand these jobs over to replicas of their hosts.
    HandOver(Vec<Away>),
    /// Renew what we hold, and our presence.
    Renew(Vec<EntryId>),
    /// Try a renewal over a fresh connection.
    RenewFresh(Vec<EntryId>),
    /// Give up the connection that commands go over: a fresh one works, and it does not.
    ReplaceCommands,
    /// Tell operators what happened.
    Tell(Report),
    /// Ask the engine whether it answers.
    ProbeEngine,
    /// Ask the handler's store whether it takes writes.
    ProbeStore,
    /// Ask whether a full host has room again.
    ProbeRoom,
    /// Make the group usable.
    Adopt,
    /// Let the janitor run.
    Tidy,
    /// Let the handler remove what attempts left behind.
    Reconcile,
}
