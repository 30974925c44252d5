//! The end of the replicas.

use std::time::Duration;

use rustix::process::Signal;

use crate::embedded::fleet::Fleet;

/// More than `drain-timeout`, after which a replica ends by itself.
const DRAINED_WITHIN: Duration = Duration::from_secs(40);

/// True where every replica that still lived ended by itself in time.
pub(super) async fn drain(fleet: &mut Fleet) -> bool {
    let mut living = Vec::new();
    for replica in fleet.replicas() {
        // One that the user has stopped drains too.
        replica.process().signal(Signal::CONT);
        living.push(replica.process().ended().is_none());
    }
    let ends = fleet.stop(DRAINED_WITHIN).await;
    living.iter().zip(ends).all(|(lived, end)| !lived || end.is_some_and(|status| status.success()))
}
