//! A Docker Engine that demands client certificates, on loopback.

use std::path::Path;

use startjobs::contract::error_code::ErrorCode;
use startjobs::engine::docker::{DockerEngine, DockerOptions};
use startjobs::engine::{Engine, EngineError};

use super::{borrowed, command, said};
use crate::support::certificates::Certificates;
use crate::support::dockerd::Dockerd;
use crate::support::scrape::free_port;
use crate::support::world::{World, load};

const GAME: &str = "startjobs.test/game:1";

/// An engine on this port, besides its socket.
fn docker(certificates: &Certificates, port: u16) -> Option<Dockerd> {
    let files = ["--tlscacert", "ca.pem", "--tlscert", "server-cert.pem", "--tlskey", "server-key.pem"];
    let files = files.map(|text| if text.starts_with("--") { text.to_owned() } else { certificates.path(text) });
    let host = format!("tcp://127.0.0.1:{port}");
    let mut arguments = vec!["--host", &host, "--tlsverify"];
    arguments.extend(files.iter().map(String::as_str));
    Dockerd::start_with(&arguments)
}

fn settings(tls: &[(String, String)], host: &str) -> Vec<(String, String)> {
    // Games are published on all addresses: on ports of their own, so that they are not in the way of other tests, which publish
    // where the system begins to give out ports.
    let ports = ("port-range", "19000-19099");
    let others = [("engine", "docker"), ("docker-host", host), ("claim-idle", "1500ms"), ports];
    [tls, &others.map(|(name, value)| (name.to_owned(), value.to_owned()))].concat()
}

/// Why an engine of these settings cannot be used.
async fn trouble(settings: &[(String, String)]) -> String {
    let engine = load(settings).engine;
    let options = DockerOptions { tls: engine.docker_tls, ..DockerOptions::new(&engine.docker_host, 8080, 1) };
    let engine = DockerEngine::connect_with(options).expect("a good URL");
    match engine.ping().await {
        Err(EngineError::Failed { code: ErrorCode::EngineUnavailable, message }) => message,
        other => panic!("it should be refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_game_is_started_over_tls_and_nobody_without_the_right_certificates_is_let_in() {
    let certificates = Certificates::new(&["127.0.0.1"]);
    let others = Certificates::new(&["127.0.0.1"]);
    let port = free_port();
    let Some(dockerd) = docker(&certificates, port) else { return };
    let host = format!("tcp://127.0.0.1:{port}");
    let ours = certificates.settings("docker");

    // Refused, and said why.
    let told = trouble(&settings(&ours[..1], &host)).await;
    assert!(told.contains("requires a client certificate; set docker-tls-cert-file and docker-tls-key-file"), "{told}");
    let mut of_others = settings(&others.settings("docker"), &host);
    let told = trouble(&of_others).await;
    assert!(told.contains("not signed by a trusted authority; check docker-tls-ca-file"), "{told}");
    of_others[0].1 = certificates.path("ca.pem");
    let told = trouble(&of_others).await;
    assert!(told.contains("does not accept our certificate; check docker-tls-cert-file"), "{told}");
    let told = trouble(&settings(&ours, &host.replace("127.0.0.1", "localhost"))).await;
    assert!(told.contains("for another name than the requested host; check docker-host"), "{told}");

    // Let in, by Docker's own variables too.
    dockerd.import_image(GAME, Path::new(env!("CARGO_BIN_EXE_startjobs")), &["engine"], &[]);
    let mut world = World::with(&borrowed(&settings(&ours, &host))).await;
    world.replica(&[]);
    let job = world.send("game", GAME).await;
    world.settled().await;
    let outcome = world.outcome(job).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_message")), ("success", ""), "{}", world.logs());
    assert!(outcome.get("engine_endpoint").starts_with("http://127.0.0.1:"), "{outcome:?}");
    assert_eq!(dockerd.containers(), [outcome.get("container_id")]);
    let folder = certificates.folder();
    let variables = [("DOCKER_HOST", host.as_str()), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", folder)];
    let redis = [("redis-url".to_owned(), world.redis.url())];
    for arguments in [&["doctor", "--image", GAME][..], &["audit", "--since", "0"]] {
        let output = command(arguments, &redis, &variables);
        let said = said(&output);
        assert!(output.status.success(), "{arguments:?}: {said}");
        let shown = if arguments[0] == "doctor" { "TLS, trusting a named authority" } else { "1 " };
        assert!(said.contains(shown) && !said.contains("does not answer"), "{arguments:?}: {said}");
    }
}
