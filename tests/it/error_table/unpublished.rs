//! What is never published: the job is tried again, and its budget is as it was.

use crate::support::scrape::{free_port, metric};
use crate::support::world::World;

#[tokio::test]
async fn a_game_that_is_being_started_lets_another_job_wait_uncounted() {
    // Few slots, so that neither replica can take all jobs.
    let mut world = World::with(&[("retry-attempts", "1"), ("slots", "4")]).await;
    let ports = [free_port(), free_port()];
    let replicas = ports.map(|port| world.replica(&[("http-addr", &format!("127.0.0.1:{port}"))]));
    for replica in replicas {
        world.begun(replica).await;
    }
    // One game is one lane of a replica, so that only the other one finds it in progress.
    let mut jobs = Vec::new();
    for _ in 0..8 {
        jobs.push(world.send("game", "sim/slow:3s").await);
    }
    let sum = |name: &str| -> f64 { ports.map(|port| metric(port, name)).into_iter().sum() };
    world.settled().await;
    let retries = ["startjobs_retries_total{counted=\"no\"}", "startjobs_retries_total{counted=\"yes\"}"].map(sum);
    assert!(retries[0] >= 1.0 && retries[1] < 1.0, "{retries:?}\n{}", world.logs());
    for job in jobs {
        assert_eq!(world.outcome(job).await.get("outcome"), "success");
    }
    assert!(world.lobby.all_dead().await.expect("dead letters").is_empty());
    world.sim_log().await.the_only_container("game");
}
