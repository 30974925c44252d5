//! Handshakes that fail, what is said about them, and that they are tried again.

use std::fs;
use std::time::Duration;

use super::{borrowed, command, redis, said};
use crate::support::certificates::Certificates;
use crate::support::world::{PATIENCE, World};

/// Settings of a client, and what a command says about them.
fn refused(settings: &[(String, String)], words: &str) {
    let output = command(&["status", "--timeout", "1s"], settings, &[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("the TLS handshake failed") && said.contains(words), "should say {words:?}: {said}");
}

fn with_url(settings: &[(String, String)], url: &str) -> Vec<(String, String)> {
    [settings, &[("redis-url".to_owned(), url.to_owned())]].concat()
}

#[test]
fn every_refusal_names_what_to_check() {
    let certificates = Certificates::new(&["localhost"]);
    let others = Certificates::new(&["localhost"]);
    let (server, port) = redis(&certificates, &[]);
    let url = format!("rediss://localhost:{port}");
    let ours = certificates.settings("redis");

    let mut settings = with_url(&ours, &url);
    settings[0].1 = others.path("ca.pem");
    refused(&settings, "not signed by a trusted authority; check redis-tls-ca-file");
    let settings = with_url(&ours[1..], &url);
    refused(&settings, "name its authority with redis-tls-ca-file");
    let settings = with_url(&ours, &format!("rediss://127.0.0.1:{port}"));
    refused(&settings, "for another name than the requested host; check redis-url");
    let settings = with_url(&ours[..1], &url);
    refused(&settings, "requires a client certificate; set redis-tls-cert-file and redis-tls-key-file");
    let mut settings = with_url(&others.settings("redis"), &url);
    settings[0].1 = certificates.path("ca.pem");
    refused(&settings, "does not accept our certificate; check redis-tls-cert-file");
    let settings = with_url(&ours, &format!("rediss://localhost:{}", server.port()));
    let output = command(&["status", "--timeout", "3s"], &settings, &[]);
    assert!(said(&output).contains("Does the server have TLS on, on the port in redis-url?"), "{}", said(&output));
}

#[test]
fn a_server_of_tls_1_2_is_reached_and_refuses_in_its_own_way() {
    let certificates = Certificates::new(&["localhost"]);
    let (_server, port) = redis(&certificates, &["--tls-protocols", "TLSv1.2"]);
    let ours = with_url(&certificates.settings("redis"), &format!("rediss://localhost:{port}"));
    let output = command(&["status"], &ours, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let bare: Vec<_> =
        ours.iter().filter(|(name, _)| !name.contains("cert") && !name.contains("key")).cloned().collect();
    refused(&bare, "requires a client certificate; set redis-tls-cert-file");
}

#[tokio::test]
async fn a_replica_says_why_and_goes_on_once_the_certificate_is_good() {
    let good = Certificates::new(&["localhost"]);
    let expired = Certificates::valid_for("-1", &["localhost"]);
    let strange = Certificates::new(&["localhost"]);
    // What the server has at a time; its clients keep the good one's authority and certificate.
    let live = Certificates::new(&["localhost"]);
    live.replace_server_with(&good);
    let (server, port) = redis(&live, &[]);
    let settings = with_url(&good.settings("redis"), &format!("rediss://localhost:{port}"));
    let mut world = World::on(server, &borrowed(&settings)).await;
    let again = |world: &mut World, certificates: &Certificates| {
        world.redis.kill();
        live.replace_server_with(certificates);
        // One authority for both sides of the handshake, so that only the server's certificate is at fault.
        fs::copy(good.path("ca.pem"), live.path("ca.pem")).expect("both folders are ours");
        world.redis.start_again().expect("redis-server starts again");
    };

    // At start.
    let wrong = ("redis-tls-ca-file", strange.path("ca.pem"));
    let number = world.replica(&[(wrong.0, &wrong.1)]);
    says(&mut world, number, "degraded", "check redis-tls-ca-file").await;
    world.fleet.replica(number).process().signal(rustix::process::Signal::TERM);
    let ended = world.fleet.replica(number).process().wait(PATIENCE);
    assert!(ended.is_some_and(|status| status.success()), "a replica that has no Redis stops when it is told to");

    // While it runs.
    let number = world.replica(&[]);
    world.begun(number).await;
    again(&mut world, &strange);
    says(&mut world, number, "redis handshake failed", "not signed by a trusted authority; check redis-tls-ca-file")
        .await;
    again(&mut world, &expired);
    // Its authority is another one: who signed is looked at before until when.
    world.logged(number, "no second line about the same", |log| log.count("redis handshake failed") <= 2).await;
    again(&mut world, &good);
    world.eventually("Redis answers again", async |world: &World| world.try_redis(&["PING"]).await.is_ok()).await;
    world.send("g1", "galaxy/engine:1").await;
    world.settled().await;
}

/// Waits until a replica's log has these words in a line with this message.
async fn says(world: &mut World, number: usize, message: &str, words: &str) {
    let holds = |line: &serde_json::Value| line["err"].as_str().is_some_and(|text| text.contains(words));
    world.logged(number, &format!("{message}: {words}"), |log| log.with(message).any(holds)).await;
}

#[test]
fn an_expired_certificate_is_said_to_be_one() {
    let expired = Certificates::valid_for("-1", &["localhost"]);
    let (_server, port) = redis(&expired, &[]);
    let settings = with_url(&expired.settings("redis"), &format!("rediss://localhost:{port}"));
    refused(&settings, "the server's certificate has expired");
    // Bounded: a command does not wait for it to become valid.
    let began = std::time::Instant::now();
    refused(&settings, "Expired");
    assert!(began.elapsed() < Duration::from_secs(10));
}
