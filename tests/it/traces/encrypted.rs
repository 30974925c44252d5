//! A collector over TLS: its certificate is checked, and what is wrong with it is said.

use rustix::process::Signal;

use super::{ENDPOINT, sampled, send};
use crate::support::certificates::Certificates;
use crate::support::collector::Collector;
use crate::support::world::{PATIENCE, World};

/// A job before a collector with a certificate for these names, whose authority the replica knows from this file.
async fn one_job(collector: &Collector, authority: &str) -> World {
    let mut world = World::new().await;
    world.replica(&[(ENDPOINT, &collector.endpoint()), ("SSL_CERT_FILE", authority)]);
    send(&mut world, "earth", "galaxy/engine:1", &sampled()).await;
    world.settled().await;
    world
}

async fn is_refused(collector: &Collector, authority: &str, why: &str) {
    let mut world = one_job(collector, authority).await;
    let message = "traces cannot be exported";
    world.logged(0, message, |log| log.count(message) == 1).await;
    let log = world.log(0);
    let said = log.with(message).next().expect("it was logged")["err"].to_string();
    assert!(said.contains(why), "{said}");
    assert!(collector.spans(|_| true).is_empty());
    world.signal(0, Signal::TERM);
    assert!(world.ended(0, PATIENCE).await.success(), "{}", world.logs());
}

#[tokio::test]
async fn spans_are_sent_over_tls() {
    let certificates = Certificates::new(&["127.0.0.1"]);
    let collector = Collector::encrypted(&certificates).await;
    let _world = one_job(&collector, &certificates.path("ca.pem")).await;
    collector.got(1, "the job", |span| span.name.starts_with("process ")).await;
}

#[tokio::test]
async fn an_authority_that_is_not_known_is_said() {
    let (certificates, others) = (Certificates::new(&["127.0.0.1"]), Certificates::new(&["127.0.0.1"]));
    let collector = Collector::encrypted(&certificates).await;
    is_refused(&collector, &others.path("ca.pem"), "name its authority with SSL_CERT_FILE").await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_said() {
    let certificates = Certificates::new(&["collector.example"]);
    let collector = Collector::encrypted(&certificates).await;
    is_refused(&collector, &certificates.path("ca.pem"), "another name than the requested host").await;
}
