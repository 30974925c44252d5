//! New entries: the blocking read, on a connection of its own.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::delivery::{Delivery, Origin};
use super::group::{Member, id_of};
use crate::redis::commands::{Entry, GroupRead};
use crate::redis::{Connection, RedisError};

/// How a read ended.
#[derive(Debug)]
pub(crate) enum Read {
    /// With these entries; none when BLOCK expired.
    Returned(Vec<Delivery>),
    /// It was made to end. Entries that Redis had already sent are pending for this consumer, and nothing here has them.
    Interrupted,
}

/// One read's right to be interrupted.
#[derive(Debug)]
pub(crate) struct Turn(watch::Receiver<u64>);

/// Reads new entries for one consumer.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
    jobs: String,
    group: String,
    consumer: String,
    block: Duration,
    /// How often a read was asked to return.
    interruptions: watch::Sender<u64>,
}

/// A read that is to return is given this long for what it may just be bringing: while entries arrive it returns by
/// itself, and an entry whose reply was dropped has to be looked for.
const GRACE: Duration = Duration::from_millis(25);

impl Reader {
    /// A reader for this consumer, blocking for at most `block`.
    pub(crate) fn new(connection: Connection, member: &Member, block: Duration) -> Self {
        Self {
            connection,
            jobs: member.group.keys.jobs.clone(),
            group: member.group.settings.group.clone(),
            consumer: member.consumer.to_string(),
            block,
            interruptions: watch::channel(0).0,
        }
    }

    /// What the next read is given: it is interrupted from now on, also before it has been sent.
    pub(crate) fn turn(&self) -> Turn {
        Turn(self.interruptions.subscribe())
    }

    /// Waits for at most `count` new entries; returns as soon as there is one, and with none when BLOCK expired.
    ///
    /// The future must be awaited to its end: a dropped one leaves entries delivered to no consumer until they are claimed.
    pub(crate) async fn read(&self, count: usize, Turn(mut interruptions): Turn) -> Result<Read, RedisError> {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        // Rounded up: BLOCK 0 would wait for ever.
        let block = u64::try_from(self.block.as_millis()).unwrap_or(u64::MAX).max(1);
        if interruptions.has_changed().unwrap_or(true) {
            return Ok(Read::Interrupted);
        }
        let (group, consumer, stream) = (self.group.as_str(), self.consumer.as_str(), self.jobs.as_str());
        let mut call = pin!(self.connection.read_group(GroupRead { stream, group, consumer, count, block_ms: block }));
        let entries = tokio::select! {
            biased;
            entries = &mut call => entries?,
            Ok(()) = interruptions.changed() => {
                let Ok(entries) = timeout(GRACE, &mut call).await else {
                    self.connection.replace();
                    return Ok(Read::Interrupted);
                };
                entries?
            }
        };
        entries.into_iter().map(delivery_of).collect::<Result<_, _>>().map(Read::Returned)
    }

    /// Makes the read that has its turn return now: it closes its socket. CLIENT UNBLOCK is no way: it ends servers up to
    /// 7.0 whose clients are paused, and a refusal of it would leave the read waiting.
    pub(crate) fn interrupt(&self) {
        self.interruptions.send_modify(|times| *times += 1);
    }

    /// Drops the connection: a read that is under way fails, and the next has a new one.
    pub(crate) fn replace_connection(&self) {
        self.connection.replace();
    }
}

fn delivery_of(Entry { id, fields }: Entry) -> Result<Delivery, RedisError> {
    Ok(Delivery {
        id: id_of(&id)?,
        origin: Origin::New,
        dead_owner: None,
        deliveries: 1,
        crashes: 0,
        failures: 0,
        fields: Some(fields),
    })
}
