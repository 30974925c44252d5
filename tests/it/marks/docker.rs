//! A job that had come as far as a real container: nothing of it is left when it is cancelled.

use super::{ends_with, was_cancelled};
use crate::support::dockerd::{Dockerd, archive};
use crate::support::registry::{FakeRegistry, Fault, Image};
use crate::support::scrape::{free_port, metric};
use crate::support::world::World;

const GAME: &str = "startjobs.test/game:1";

#[tokio::test]
async fn a_container_of_a_cancelled_job_is_removed_however_far_it_had_come() {
    let Some(dockerd) = Dockerd::start() else { return };
    dockerd.import_image(GAME, env!("CARGO_BIN_EXE_startjobs").as_ref(), &["engine"], &[]);
    for point in ["after_create", "after_start"] {
        let (host, fleet) = (dockerd.host(), uuid::Uuid::new_v4().to_string());
        let settings = [("engine", "docker"), ("docker-host", &host), ("fleet-id", &fleet), ("claim-idle", "1500ms")];
        let mut world = World::with(&settings).await;
        let a = world.replica(&[("crash-at", point)]);
        let job = world.send("game", GAME).await;
        world.killed(a).await;
        assert_eq!(dockerd.list().len(), 1, "{point}: the attempt had come to a container");
        ends_with(&world, &format!("cancel {job} --wait 0s"), 75);
        world.replica(&[]);
        world.settled().await;
        was_cancelled(&world, job).await;
        world.eventually("no container is left", async |_: &World| dockerd.list().is_empty()).await;

        let next = world.send("game", GAME).await;
        world.settled().await;
        assert_eq!(world.outcome(next).await.get("outcome"), "success", "{point}");
        let left = world.outcome(next).await.get("container_id").to_owned();
        let answer = dockerd.request("DELETE", &format!("/containers/{left}?force=1&v=1"), b"");
        assert_eq!(answer.expect("the engine answers").0, 204, "{point}");
    }
}

#[tokio::test]
async fn a_job_that_waits_for_its_image_is_cancelled_meanwhile() {
    let Some(dockerd) = Dockerd::start() else { return };
    let registry = FakeRegistry::start().await;
    let image = Image::of_archive(archive(&[("program", env!("CARGO_BIN_EXE_startjobs").as_ref())]), &["/program"]);
    registry.put("slow/1", "1", image);
    registry.fault("slow/1", Fault::Hang);
    let (host, port) = (dockerd.host(), free_port());
    let address = format!("127.0.0.1:{port}");
    let settings = [("engine", "docker"), ("docker-host", &*host), ("claim-idle", "1500ms"), ("http-addr", &address)];
    let mut world = World::with(&settings).await;
    let replica = world.replica(&[]);
    world.begun(replica).await;
    let job = world.send("game", &registry.image("slow/1")).await;
    let second = world.send("game", &registry.image("slow/1")).await;
    world.eventually("it waits", async |_: &World| metric(port, "startjobs_outside_slots") > 0.5).await;
    // What waits behind it, and then itself.
    ends_with(&world, &format!("cancel {second} --wait 0s"), 75);
    ends_with(&world, &format!("cancel {job}"), 0);
    world.settled().await;
    was_cancelled(&world, job).await;
    was_cancelled(&world, second).await;
    assert!(dockerd.list().is_empty());
}
