//! Files that are wrong: exit code 78, the setting by name, and what to do.

use std::fs;

use super::{command, said};
use crate::support::certificates::Certificates;

/// `config show` with these settings, and words that its one problem must hold.
fn refused(settings: &[(&str, &str)], blamed: &str, words: &str) {
    let settings: Vec<(String, String)> =
        settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let output = command(&["config", "show"], &settings, &[("SSL_CERT_FILE", "/none"), ("SSL_CERT_DIR", "/none")]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(78), "{settings:?}: {said}");
    assert!(said.contains("1 problem") && said.contains(&format!("\n  {blamed} = ")), "{blamed}: {said}");
    assert!(said.contains(words), "should say {words:?}: {said}");
    assert!(!said.contains("sesame"), "{said}");
}

#[test]
fn each_wrong_file_of_redis_is_one_problem_that_says_what_to_do() {
    let certificates = Certificates::new(&["localhost"]);
    let [ca, cert, key, server_key] =
        ["ca.pem", "cert.pem", "key.pem", "server-key.pem"].map(|name| certificates.path(name));
    let damaged = certificates.path("damaged.pem");
    fs::write(&damaged, "-----BEGIN CERTIFICATE-----\nsesame").expect("the folder is ours");
    let url = ("redis-url", "rediss://h");
    let with_ca = [url, ("redis-tls-ca-file", ca.as_str())];

    refused(&[url, ("redis-tls-ca-file", "/no/such/file")], "redis-tls-ca-file", "cannot be read");
    refused(&[url, ("redis-tls-ca-file", &key)], "redis-tls-ca-file", "holds no certificate");
    refused(&[url, ("redis-tls-ca-file", &damaged)], "redis-tls-ca-file", "damaged");
    refused(&[url], "redis-tls-ca-file", "this system has no root certificates");
    let given = |more: &[(&str, &str)], blamed: &str, words: &str| {
        let mut settings = with_ca.to_vec();
        settings.extend_from_slice(more);
        refused(&settings, blamed, words);
    };
    given(&[("redis-tls-cert-file", &cert)], "redis-tls-cert-file", "needs redis-tls-key-file too");
    given(&[("redis-tls-key-file", &key)], "redis-tls-key-file", "needs redis-tls-cert-file too");
    let of_another = [("redis-tls-cert-file", cert.as_str()), ("redis-tls-key-file", &server_key)];
    given(&of_another, "redis-tls-key-file", "holds a private key that does not belong to the certificate");
    given(
        &[("redis-tls-cert-file", &cert), ("redis-tls-key-file", &cert)],
        "redis-tls-key-file",
        "holds no private key",
    );
    let on_a_plain_url = [("redis-url", "redis://:sesame@h"), ("redis-tls-ca-file", &ca)];
    refused(&on_a_plain_url, "redis-tls-ca-file", "write rediss:// there, or unset this");
}

#[test]
fn each_wrong_file_of_docker_is_one_problem_that_says_what_to_do() {
    let certificates = Certificates::new(&["localhost"]);
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| certificates.path(name));
    let tcp = ("docker-host", "tcp://h:2376");
    refused(&[("docker-tls-ca-file", &ca)], "docker-tls-ca-file", "is a socket; correct one of them");
    let without_authority = [tcp, ("docker-tls-cert-file", &cert), ("docker-tls-key-file", &key)];
    refused(&without_authority, "docker-tls-cert-file", "needs docker-tls-ca-file too");
    let without_key = [tcp, ("docker-tls-ca-file", &ca), ("docker-tls-cert-file", &cert)];
    refused(&without_key, "docker-tls-cert-file", "needs docker-tls-key-file too");
}

#[test]
fn dockers_own_variables_turn_tls_on_where_they_are_meant() {
    let certificates = Certificates::new(&["localhost"]);
    let folder = certificates.folder();
    let shows = |variables: &[(&str, &str)], settings: &[(&str, &str)]| {
        let settings: Vec<(String, String)> =
            settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        said(&command(&["config", "show", "--origin"], &settings, variables))
    };
    let tcp = ("DOCKER_HOST", "tcp://h:2376");
    let (verify, path) = (("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", folder));
    let ca = certificates.path("ca.pem");
    assert!(shows(&[tcp, verify, path], &[]).contains(&ca));
    assert!(!shows(&[tcp, path], &[]).contains(&ca), "as with Docker, the folder alone turns nothing on");
    assert!(!shows(&[verify, path], &[]).contains(&ca), "a socket is not encrypted");
    // Never without TLS because of a missing file.
    let told = shows(&[tcp, verify], &[]);
    assert!(told.contains("docker-tls-ca-file = \".docker/ca.pem\" (environment DOCKER_TLS_VERIFY)"), "{told}");
    // They are for other programs where no Docker is used.
    assert!(shows(&[tcp, verify], &[("engine", "simulated")]).starts_with("exit status: 0"));
}
