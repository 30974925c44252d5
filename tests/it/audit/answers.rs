//! What an outcome must say, and what the containers say to it: each way to be wrong, and the ways that are right.

use std::time::Duration;

use startjobs::audit::finding::Kind;
use startjobs::audit::report::AuditReport;

use super::{FAILURE, Said, after_a_fleet, assert_clean, assert_only, audited, settle_as};
use crate::support::world::World;

/// A job that only a careless worker has read.
async fn read_by_hand(world: &mut World, game: &str) -> String {
    let job = world.send(game, "galaxy/engine:1").await.to_string();
    world.read_as("careless", "1").await;
    job
}

#[tokio::test]
async fn an_outcome_that_says_too_little_or_something_else_is_caught() {
    let own = Said { outcome: "success", container: "simulated.rtm-before.x", endpoint: "http://h:1", code: "" };
    for (kind, said) in [
        (Kind::InvalidOutcome, Said { outcome: "started", ..own }),
        (Kind::InvalidOutcome, Said { outcome: "", ..own }),
        (Kind::SuccessIncomplete, Said { container: "", ..own }),
        (Kind::SuccessIncomplete, Said { endpoint: " ", ..own }),
        (Kind::FailureWithoutCode, Said { code: "", ..FAILURE }),
    ] {
        let mut world = after_a_fleet().await;
        let job = read_by_hand(&mut world, "game").await;
        settle_as(&world, "game", &job, said).await;
        assert_only(&audited(&world).await, kind, &job);
        // It stays wrong when its entry has gone.
        let jobs = world.settings.stream.jobs.clone();
        world.redis(&["XDEL", &jobs, &job]).await;
        assert_only(&audited(&world).await, kind, &job);
    }
    let mut world = after_a_fleet().await;
    let job = read_by_hand(&mut world, "game").await;
    settle_as(&world, "game", &job, FAILURE).await;
    assert_clean(&audited(&world).await);
}

#[tokio::test]
async fn a_success_whose_container_was_never_started_is_caught() {
    let mut world = after_a_fleet().await;
    // The container of the job before is running, and a replay of it is as good.
    let first = world.entries(&world.settings.stream.results).await.remove(0);
    let (container, endpoint) = (first.get("container_id"), first.get("engine_endpoint"));
    let job = read_by_hand(&mut world, "before").await;
    let replay = Said { outcome: "success", container, endpoint, code: "replay_no_op" };
    settle_as(&world, "before", &job, replay).await;
    assert_clean(&audited(&world).await);
    // A container that ended is no violation either.
    world.remove_container("before").await;
    assert_clean(&audited(&world).await);
    let job = read_by_hand(&mut world, "game").await;
    let invented = Said { container: "simulated.rtm-game.0123456789ab", code: "", ..replay };
    settle_as(&world, "game", &job, invented).await;
    assert_only(&audited(&world).await, Kind::SuccessWithoutContainer, &job);
    // A log that has lost its beginning cannot tell, and says so.
    let log = format!("{}sim:log", world.settings.start.record_prefix);
    world.redis(&["XDEL", &log, &world.entries(&log).await[0].id]).await;
    let report = audited(&world).await;
    assert_clean(&report);
    assert!(report.table().contains("cannot check that each success had a container"), "{}", report.table());
}

/// Starts a container by hand, as the simulated engine stores it.
async fn start_container(world: &World, game: &str, job: &str) -> String {
    let id = format!("simulated.rtm-{game}.0123456789ab");
    let prefix = &world.settings.start.record_prefix;
    let labels = format!(r#"["1","default","docker.io/galaxy/engine:1","careless","{job}"]"#);
    let text = format!("{id} {game} running 1700000000000 {labels}");
    world.redis(&["SET", &format!("{prefix}sim:{{rtm-{game}}}"), &text]).await;
    let who = format!("{id} {game}");
    world.redis(&["XADD", &format!("{prefix}sim:log"), "*", "create", &who, "start", &who]).await;
    id
}

async fn write_record(world: &World, game: &str, state: &str, container: &str, source: &str, condemned: &str) {
    let prefix = &world.settings.start.record_prefix;
    let record = format!(
        r#"{{"fence":1,"lease_until_ms":0,"updated_at_ms":1,"attempt":1,"state":"{state}","image_ref":"docker.io/galaxy/engine:1","stream":"{}","source_ref":"{source}","op_source":"","owner":"careless","host":"default","engine":"simulated","condemned":"{condemned}","container_id":"{container}"}}"#,
        world.settings.stream.jobs
    );
    world.redis(&["SET", &format!("{prefix}{{{game}}}:rec"), &record]).await;
}

/// Audits until there is a finding: how long a stray may stay has to pass first.
async fn found(world: &World) -> AuditReport {
    for _ in 0..200 {
        let report = audited(world).await;
        if !report.is_clean() {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing was found in all that time");
}

#[tokio::test]
async fn a_failure_whose_own_container_runs_is_caught_unless_something_accounts_for_it() {
    let strays = [("reconcile-interval", "50ms"), ("reconcile-grace", "50ms")];
    for is_deleted in [false, true] {
        let mut world = super::after_a_fleet_with(&strays).await;
        let job = read_by_hand(&mut world, "game").await;
        let container = start_container(&world, "game", &job).await;
        settle_as(&world, "game", &job, FAILURE).await;
        if is_deleted {
            let jobs = world.settings.stream.jobs.clone();
            world.redis(&["XDEL", &jobs, &job]).await;
        }
        let report = found(&world).await;
        assert_only(&report, Kind::FailureWithContainer, &job);
        assert!(report.listed[0].detail.contains(&container), "{}", report.table());
        // It is to be removed; a later attempt works on it; a later job has adopted it.
        write_record(&world, "game", "failed", "", &job, &container).await;
        assert_clean(&audited(&world).await);
        write_record(&world, "game", "starting", "", "99-0", "").await;
        assert_clean(&audited(&world).await);
        write_record(&world, "game", "running", &container, "99-0", "").await;
        assert_clean(&audited(&world).await);
        // The record itself says that this job runs.
        write_record(&world, "game", "running", &container, &job, "").await;
        assert_only(&audited(&world).await, Kind::FailureWithContainer, &job);
        world.remove_container("game").await;
        assert_clean(&audited(&world).await);
    }
}

#[tokio::test]
async fn a_failure_beside_the_container_of_another_job_and_a_stray_that_is_still_young_are_right() {
    let mut world = after_a_fleet().await;
    // The game runs, by the job before: this one asked for another image, say.
    let conflict = read_by_hand(&mut world, "before").await;
    settle_as(&world, "before", &conflict, FAILURE).await;
    assert_clean(&audited(&world).await);
    // With the defaults the reconciler has minutes to remove it.
    let job = read_by_hand(&mut world, "game").await;
    start_container(&world, "game", &job).await;
    settle_as(&world, "game", &job, FAILURE).await;
    assert_clean(&audited(&world).await);
}
