//! A real engine whose disk is full: its data root is a small filesystem of its own.

use std::fs;
use std::path::Path;

use super::{sick, working};
use crate::support::dockerd::Dockerd;
use crate::support::world::World;

const GAME: &str = "startjobs.test/game:1";
/// The image takes a few tens of MiB, twice while it is imported.
const DATA_ROOT_MIB: u32 = 600;

/// Takes all the room that is left below this directory, up to the last block.
fn fill(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("filler");
    let mut bytes = 1 << 20;
    let mut file = fs::File::create(&path).expect("the file is made while there is room");
    while bytes >= 512 {
        match std::io::Write::write_all(&mut file, &vec![1; bytes]) {
            Ok(()) => {}
            Err(_) => bytes /= 2,
        }
    }
    path
}

#[tokio::test]
async fn jobs_wait_while_the_disk_of_the_only_host_is_full_and_start_when_there_is_room() {
    let Some(dockerd) = Dockerd::start_on_disk_of(DATA_ROOT_MIB) else { return };
    dockerd.import_image(GAME, Path::new(env!("CARGO_BIN_EXE_startjobs")), &["engine"], &[]);
    let docker = [("engine", "docker"), ("claim-idle", "1500ms"), ("slots", "4"), ("retry-attempts", "2")];
    let mut world = World::with(&[&docker[..], &dockerd.settings()].concat()).await;
    let (a, _) = working(&mut world).await;
    let filler = fill(&dockerd.data_root());
    for number in 0..8 {
        world.send(&format!("game{number}"), GAME).await;
    }
    world.logged(a, "that its host is sick", |log| sick(log).0 == 1).await;
    let degraded = world.log(a);
    let words = degraded.with("degraded").map(ToString::to_string).collect::<String>();
    assert!(words.contains("no space left on device"), "{words}");
    assert_eq!(world.lobby.answers().await.expect("counts"), (0, 0));

    fs::remove_file(filler).expect("removed");
    let account = world.settled().await;
    assert_eq!(account.outcomes.get("started"), Some(&8), "{account:?}");
    world.at_rest().await;
    assert_eq!(dockerd.containers().len(), 8);
}
