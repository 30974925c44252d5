//! Upgraded and rolled back with the binary of the version before, which `STARTJOBS_OLD` names. `deploy/upgrade.sh` builds it
//! and runs these tests.

use std::path::Path;
use std::time::{Duration, Instant};

use super::two_versions::{GAME, Replica, TwoVersions, Version};
use crate::support::dockerd::Dockerd;

/// Replicas of the fleet.
const REPLICAS: usize = 3;

fn dockerd() -> Option<Dockerd> {
    let dockerd = Dockerd::start()?;
    dockerd.import_image(GAME, Path::new(env!("CARGO_BIN_EXE_startjobs")), &["engine"], &[]);
    Some(dockerd)
}

/// One replica after the other becomes one of the other version; each has jobs in hand when it is told to stop.
async fn roll(two: &mut TwoVersions, replicas: Vec<Replica>, version: Version) -> Vec<Replica> {
    let mut next = Vec::new();
    for replica in replicas {
        next.push(two.replace(replica, version).await);
        two.send_again().await;
        two.check().await;
    }
    two.send_new(3).await;
    two.send_again().await;
    two.check().await;
    two.audit();
    next
}

async fn is_upgraded_and_rolled_back(mut two: TwoVersions) {
    let fleet = two.start_all(Version::Before, REPLICAS).await;
    two.send_new(6).await;
    two.check().await;
    let fleet = roll(&mut two, fleet, Version::This).await;
    let fleet = roll(&mut two, fleet, Version::Before).await;
    // By now this version takes the host for dead, of which it has not heard for a heartbeat: what runs there stays.
    let fleet = roll(&mut two, fleet, Version::This).await;
    for replica in fleet {
        two.drain(replica).await;
    }
}

#[tokio::test]
#[ignore = "needs the binary of the version before: deploy/upgrade.sh"]
async fn a_simulated_fleet_is_upgraded_and_rolled_back() {
    is_upgraded_and_rolled_back(TwoVersions::new(None).await).await;
}

#[tokio::test]
#[ignore = "needs the binary of the version before: deploy/upgrade.sh"]
async fn a_fleet_on_a_docker_engine_is_upgraded_and_rolled_back() {
    let Some(dockerd) = dockerd() else { return };
    is_upgraded_and_rolled_back(TwoVersions::new(Some(dockerd)).await).await;
}

/// Two of each version for a while, with jobs of the same games; one of each dies with jobs in hand.
async fn runs_mixed(mut two: TwoVersions) {
    let before = two.start_all(Version::Before, 2).await;
    two.send_new(4).await;
    two.check().await;
    let this = two.start_all(Version::This, 2).await;
    for round in 0..4 {
        two.send_new(4).await;
        two.send_again().await;
        two.send_again().await;
        match round {
            1 => two.kill(before[0]).await,
            2 => two.kill(this[0]).await,
            _ => {}
        }
        two.check().await;
    }
    two.audit();
}

#[tokio::test]
#[ignore = "needs the binary of the version before: deploy/upgrade.sh"]
async fn both_versions_serve_one_simulated_engine() {
    runs_mixed(TwoVersions::new(None).await).await;
}

#[tokio::test]
#[ignore = "needs the binary of the version before: deploy/upgrade.sh"]
async fn both_versions_serve_one_docker_engine() {
    let Some(dockerd) = dockerd() else { return };
    runs_mixed(TwoVersions::new(Some(dockerd)).await).await;
}

/// Every replica dies at once with jobs in hand, and replicas of the other version take over.
async fn takes_over_after_the_death_of_all(mut two: TwoVersions) {
    let mut fleet = two.start_all(Version::Before, 2).await;
    two.send_new(4).await;
    two.check().await;
    for version in [Version::This, Version::Before, Version::This] {
        two.send_new(6).await;
        for replica in fleet {
            two.kill(replica).await;
        }
        fleet = two.start_all(version, 2).await;
        two.check().await;
        two.send_again().await;
        two.check().await;
    }
    two.audit();
}

#[tokio::test]
#[ignore = "needs the binary of the version before: deploy/upgrade.sh"]
async fn the_other_version_takes_over_on_the_simulated_engine() {
    takes_over_after_the_death_of_all(TwoVersions::new(None).await).await;
}

#[tokio::test]
#[ignore = "needs the binary of the version before: deploy/upgrade.sh"]
async fn the_other_version_takes_over_on_a_docker_engine() {
    let Some(dockerd) = dockerd() else { return };
    takes_over_after_the_death_of_all(TwoVersions::new(Some(dockerd)).await).await;
}

/// Games end under either version, of which only this one corrects records; the other one reads what it wrote.
#[tokio::test]
#[ignore = "needs the binary of the version before: deploy/upgrade.sh"]
async fn games_that_ended_are_started_anew_by_either_version() {
    let Some(dockerd) = dockerd() else { return };
    let mut two = TwoVersions::new(Some(dockerd)).await;
    let before = two.start(Version::Before).await;
    two.send_new(4).await;
    two.check().await;
    let games = two.games();
    two.end(&games[0]);
    two.drain(before).await;
    let this = two.start(Version::This).await;
    two.end(&games[1]);
    for game in &games[..2] {
        let began = Instant::now();
        while two.state_of(game).await != "stopped" {
            assert!(began.elapsed() < Duration::from_secs(10), "the record of {game} lies\n{}", two.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    two.send_anew(&games[0]).await;
    two.check().await;
    two.drain(this).await;
    let before = two.start(Version::Before).await;
    two.send_anew(&games[1]).await;
    two.send_again().await;
    two.check().await;
    two.drain(before).await;
    two.start(Version::This).await;
    two.send_again().await;
    two.check().await;
    two.audit();
}
