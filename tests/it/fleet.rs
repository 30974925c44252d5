//! A fleet on a real redis-server: the ordinary way, and every way to die on it.

use crate::support::world::World;

#[tokio::test]
async fn every_job_gets_its_one_outcome_and_every_malformed_entry_its_dead_letter() {
    let mut world = World::new().await;
    for _ in 0..3 {
        world.replica(&[]);
    }
    for number in 0..100 {
        world.send(&format!("game-{number}"), "galaxy/engine:1").await;
    }
    world.send("game-1", "galaxy/engine:1").await;
    world.send("game-2", "galaxy/engine:2").await;
    world.send("game-x", "sim/missing").await;
    world.send("game-y", "sim/exit").await;
    world.send("no such game", "galaxy/engine:1").await;
    world.send("game-z", "NO:such:image").await;
    world.send_malformed().await;
    let account = world.settled().await;
    let expected = [
        ("started", 100),
        ("replay_no_op", 1),
        ("image_conflict", 1),
        ("image_not_found", 1),
        ("engine_exited", 1),
        ("invalid_game_id", 1),
        ("invalid_image_ref", 1),
    ];
    for (kind, count) in expected {
        assert_eq!(account.outcomes.get(kind), Some(&count), "{kind}: {account:?}");
    }
    assert_eq!(account.malformed, 1);
    world.at_rest().await;
}

#[tokio::test]
async fn an_idle_replica_has_little_memory_of_its_own() {
    let mut world = World::new().await;
    let a = world.replica(&[]);
    world.begun(a).await;
    let pid = world.fleet.replica(a).process().id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("what a process has of its own");
    let kib: u64 = own.trim().trim_end_matches(" kB").parse().expect("a number");
    // 2 MiB; the allocator built without the option in .cargo/config.toml takes 9 more in advance.
    assert!(kib < 7 * 1_024, "{kib} KiB of its own");
}
