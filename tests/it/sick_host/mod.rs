//! A host that answers and starts nothing: its jobs are for other hosts, or wait until it is well, and none fails for it.

// simulated hosts whose disk is full
mod simulated;
// hosts that have as many games as they may
mod full;
// a real engine whose disk is full
mod docker;

use std::time::{Duration, Instant};

use crate::support::replica_log::Log;
use crate::support::world::{PATIENCE, World};

/// A replica that works, and its name.
async fn working(world: &mut World) -> (usize, String) {
    let number = world.replica(&[]);
    let pid = world.fleet.replica(number).process().id();
    let began = Instant::now();
    loop {
        let replicas = world.lobby.replicas().await.unwrap_or_default();
        if let Some((name, _)) = replicas.into_iter().find(|(_, its)| *its == pid) {
            return (number, name);
        }
        assert!(began.elapsed() < PATIENCE, "it does not come up\n{}", world.logs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How often the replica found its host sick, and well again.
fn sick(log: &Log) -> (usize, usize) {
    log.conditions().get("engine").copied().unwrap_or_default()
}
