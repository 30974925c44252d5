//! The master dies, stands still, or gives way.

use std::path::PathBuf;
use std::time::Duration;

use startjobs::embedded::sentinels::{SERVICE, SentinelOptions};

use super::Rig;
use crate::support::servers;

/// Replicas, and a master that is killed under load, of this program.
async fn survives_a_kill(program: PathBuf, replicas: usize) {
    let mut rig = Rig::with(&SentinelOptions { program, ..SentinelOptions::new() }, &[]).await;
    rig.replicas(replicas).await;
    let master = rig.master().await.expect("a master");
    rig.begin_load();
    rig.under_load(50).await;
    rig.sentinels.server_at(master).expect("one of the servers").kill();
    rig.failed_over(master).await;
    rig.noticed(1).await;
    rig.under_load(50).await;
    let sending = rig.end_load().await;
    // Down after one second, an election, and what connects again.
    assert!(sending.longest_gap < Duration::from_secs(15), "{sending:?}");
    rig.exact().await;
}

#[tokio::test]
async fn a_killed_master_is_replaced_under_load_and_every_job_is_answered_once() {
    survives_a_kill(PathBuf::from("redis-server"), 3).await;
}

#[tokio::test]
async fn the_same_on_the_oldest_and_the_newest_server() {
    let newest = servers::newer("valkey-9.1").or_else(|| servers::fetched("8.2"));
    for program in [servers::fetched("6.2"), newest].into_iter().flatten() {
        survives_a_kill(program, 1).await;
    }
}

#[tokio::test]
async fn a_master_that_stood_still_is_not_gone_back_to() {
    let mut rig = Rig::new(&[]).await;
    rig.replicas(2).await;
    let master = rig.master().await.expect("a master");
    rig.begin_load();
    rig.under_load(50).await;
    rig.sentinels.server_at(master).expect("one of the servers").pause();
    let stopped = tokio::time::Instant::now();
    let next = rig.failed_over(master).await;
    rig.noticed(1).await;
    rig.under_load(50).await;
    // The pause itself is what is tested: it outlasts every time-out.
    tokio::time::sleep_until(stopped + Duration::from_secs(7)).await;
    rig.sentinels.server_at(master).expect("one of the servers").resume();
    rig.under_load(100).await;
    rig.end_load().await;
    assert_eq!(rig.master().await, Some(next));
    rig.exact().await;
    for replica in 0..2 {
        assert_eq!(rig.world.log(replica).count(super::FAILED_OVER), 1, "{}", rig.world.logs());
    }
}

/// A planned failover promotes a replica while the old master still takes writes: what is written there until everyone knows the
/// new master is lost. A pause of writes keeps it from being accepted.
#[tokio::test]
async fn a_master_that_gives_way_interrupts_nothing_for_long_and_loses_nothing_where_writes_are_paused() {
    let server = ["min-replicas-to-write 1", "min-replicas-max-lag 2"].map(str::to_owned).to_vec();
    let mut rig = Rig::with(&SentinelOptions { server, ..SentinelOptions::new() }, &[("strict", "on")]).await;
    rig.replicas(2).await;
    let master = rig.master().await.expect("a master");
    rig.begin_load();
    rig.under_load(50).await;
    rig.world.redis(&["CLIENT", "PAUSE", "20000", "WRITE"]).await;
    rig.asked[0].raw(&["SENTINEL", "FAILOVER", SERVICE]).await.expect("the failover begins");
    rig.failed_over(master).await;
    rig.noticed(1).await;
    rig.under_load(50).await;
    let sending = rig.end_load().await;
    assert!(sending.longest_gap < Duration::from_secs(10), "{sending:?}");
    let (lost, _) = rig.exact().await;
    assert_eq!(lost, 0);
}
