//! A socket proxy that was made for the version before refuses volumes and events. A replica of this version answers no job
//! there before it has a name for its host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::support::dockerd::Dockerd;
use crate::support::world::{PATIENCE, World};

const GAME: &str = "startjobs.test/game:1";

/// Passes on every request to the engine but those for volumes and events, as `deploy/compose.yaml` of the version before.
/// Its tasks end with the test's runtime.
fn proxy(socket: &Path, dockerd: &Dockerd) {
    let listener = UnixListener::bind(socket).expect("the directory is ours");
    let engine = PathBuf::from(dockerd.host().trim_start_matches("unix://"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The client may end a connection at any time.
            let engine = engine.clone();
            tokio::spawn(async move { drop(pass_on(stream, &engine).await) });
        }
    });
}

async fn pass_on(mut client: UnixStream, engine: &Path) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    if ["/volumes", "/events"].iter().any(|refused| path.contains(refused)) {
        let body = "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        return client.write_all(answer.as_bytes()).await;
    }
    let mut server = UnixStream::connect(engine).await?;
    // Each request is looked at.
    let head = head.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    server.write_all(head.as_bytes()).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

#[tokio::test]
async fn a_replica_behind_a_proxy_that_refuses_volumes_waits_for_a_name_and_answers_no_job() {
    let Some(dockerd) = Dockerd::start() else { return };
    dockerd.import_image(GAME, Path::new(env!("CARGO_BIN_EXE_startjobs")), &["engine"], &[]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("proxy");
    proxy(&socket, &dockerd);
    let host = format!("unix://{}", socket.display());
    let settings =
        [("engine", "docker"), ("docker-host", host.as_str()), ("retry-attempts", "1"), ("claim-idle", "1500ms")];
    // Of two values of one setting the last counts.
    let mut world = World::with(&[&dockerd.settings()[..], &settings].concat()).await;
    let nameless = world.replica(&[]);
    for number in 0..4 {
        world.send(&format!("game-{number}"), GAME).await;
    }
    world.logged(nameless, "what is missing", |log| log.text().contains("set engine-host-id")).await;
    // It has read none: none fails.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.account().await.lost.len(), 4, "{}", world.logs());
    assert_eq!(world.log(nameless).count("start jobs consumer started"), 0, "{}", world.logs());

    // The name that the first host has always had.
    let named = world.replica(&[("engine-host-id", "default")]);
    let account = world.settled().await;
    assert_eq!(account.outcomes.keys().collect::<Vec<_>>(), ["started"], "{account:?}\n{}", world.logs());
    for replica in [nameless, named] {
        world.signal(replica, Signal::TERM);
        assert_eq!(world.ended(replica, PATIENCE).await.code(), Some(0), "{}", world.logs());
    }
}
