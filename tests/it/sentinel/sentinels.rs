//! What sentinels get wrong, and sentinels that are gone.

use std::path::Path;

use startjobs::embedded::redis_server::RedisServer;
use startjobs::embedded::sentinels::SERVICE;

use super::Rig;

#[tokio::test]
async fn a_sentinel_that_is_out_of_date_and_one_that_is_gone_mislead_nobody() {
    let mut rig = Rig::new(&[]).await;
    rig.replicas(1).await;
    let first = rig.master().await.expect("a master");
    rig.begin_load();
    rig.under_load(20).await;
    rig.sentinels.server_at(first).expect("one of the servers").kill();
    let second = rig.failed_over(first).await;
    // Before that a second failover finds no replica to begin with.
    rig.can_fail_over(second).await;
    rig.sentinels.sentinel(2).kill();
    // It knows nothing but a server that is dead, so it never learns of the others.
    let lines = format!("sentinel monitor {SERVICE} 127.0.0.1 {first} 2\n");
    let stale = RedisServer::start_with_file(&std::env::temp_dir(), Path::new("redis-server"), &["--sentinel"], lines)
        .expect("a sentinel starts");
    let mut ports = vec![stale.port()];
    ports.extend(rig.sentinels.sentinel_ports());
    let url = rig.sentinels.url_of("valkey-sentinel", "", &ports);
    let misled = rig.world.replica(&[("redis-url", &url)]);
    rig.world.begun(misled).await;
    rig.under_load(50).await;

    rig.sentinels.server_at(second).expect("one of the servers").kill();
    rig.asked.truncate(2);
    let third = rig.failed_over(second).await;
    assert_ne!(third, first);
    rig.world.logged(0, "both failovers", |log| log.count(super::FAILED_OVER) == 2).await;
    rig.world.logged(misled, "the second", |log| log.count(super::FAILED_OVER) == 1).await;
    rig.under_load(50).await;
    rig.end_load().await;
    rig.exact().await;
}

#[tokio::test]
async fn work_goes_on_without_sentinels_and_a_failover_follows_when_they_are_back() {
    let mut rig = Rig::new(&[]).await;
    rig.replicas(2).await;
    let master = rig.master().await.expect("a master");
    rig.begin_load();
    rig.under_load(20).await;
    for number in 0..3 {
        rig.sentinels.sentinel(number).kill();
    }
    rig.under_load(100).await;
    for number in 0..3 {
        rig.sentinels.sentinel(number).start_again().expect("a sentinel starts again");
    }
    for sentinel in &rig.asked {
        super::await_knowledge(sentinel, 2, 2).await;
    }
    rig.sentinels.server_at(master).expect("one of the servers").kill();
    rig.failed_over(master).await;
    rig.noticed(1).await;
    rig.under_load(50).await;
    rig.end_load().await;
    rig.exact().await;
}
