//! What the loop waits for: every operation under way answers with one of these.

use super::holdings::Held;
use crate::redis::RedisError;
use crate::start::StartError;
use crate::start::reconcile::Reconciled;
use crate::stream::adopt::Adoption;
use crate::stream::claim::Swept;
use crate::stream::fetch::Fetched;
use crate::stream::history::History;
use crate::stream::janitor::Tidied;
use crate::stream::read::Read;
use crate::stream::renew::Renewed;
use crate::stream::settle::{Ending, SettleReply};

/// The end of one operation.
#[derive(Debug)]
pub(super) enum Event {
    /// A blocking read returned.
    Read(Result<Read, RedisError>),
    /// What is known was asked about entries that are in our hands now.
    Admitted(Vec<Held>, Result<Vec<History>, RedisError>),
    /// Payloads of entries that came by their ids were read, as far as they were.
    Fetched(Vec<Held>, Fetched),
    /// The same of one that had not arrived before.
    FetchedStuck(Held, Fetched),
    /// A batch was settled, or not.
    Settled(Vec<(Held, Ending)>, Result<SettleReply, RedisError>),
    /// What we hold was renewed, or not; and whether an operator holds the fleet.
    Renewed(Result<Renewed, RedisError>, Result<bool, RedisError>),
    /// A look for claimable entries, or a claim sweep.
    Swept(Result<Swept, RedisError>),
    /// A janitor's run.
    Tidied(Result<Option<Tidied>, RedisError>),
    /// A reconciler's run.
    Reconciled(Result<Option<Reconciled>, StartError>),
    /// Entries were given back, or not.
    HandedBack(Vec<Held>, Result<u64, RedisError>),
    /// A renewal was tried over a fresh connection: whether it went through.
    Doubted(bool),
    /// The engine was asked whether it answers.
    Probed(Result<(), StartError>),
    /// The start service's store was asked whether it takes writes.
    StoreProbed(Result<(), StartError>),
    /// The group was made usable, or not.
    Adopted(Result<Adoption, RedisError>),
}
