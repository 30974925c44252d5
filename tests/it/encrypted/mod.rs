//! Encrypted connections to a real redis-server and a real dockerd, with certificates made by `deploy/tls`, and every way in
//! which they are refused.

// jobs and commands over TLS, and a server that goes away
mod redis;
// handshakes that fail, and what is said about them
mod refused;
// files that are wrong
mod files;
// a Docker Engine behind TCP
mod docker;

use std::path::Path;
use std::process::{Command, Output};

use startjobs::embedded::redis_server::RedisServer;

use crate::support::certificates::Certificates;
use crate::support::scrape::free_port;

/// A redis-server that demands client certificates on its TLS port, and that port.
fn redis(certificates: &Certificates, more: &[&str]) -> (RedisServer, u16) {
    // Somebody else may take a port between our choosing it and the server's binding it.
    for _ in 0..5 {
        let port = free_port();
        let [text, ca, cert, key] = [
            port.to_string(),
            certificates.path("ca.pem"),
            certificates.path("server-cert.pem"),
            certificates.path("server-key.pem"),
        ];
        let options =
            ["--tls-port", &text, "--tls-ca-cert-file", &ca, "--tls-cert-file", &cert, "--tls-key-file", &key];
        let options = [&options, &["--tls-auth-clients", "yes"][..], more].concat();
        if let Ok(server) = RedisServer::start_with(Path::new("redis-server"), &options) {
            return (server, port);
        }
    }
    panic!("redis-server comes up with TLS");
}

/// Settings from names and values, as what takes them by reference wants them.
fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A command with these settings, these variables and nothing else of the environment.
fn command(arguments: &[&str], settings: &[(String, String)], variables: &[(&str, &str)]) -> Output {
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .args(arguments)
        .env_clear()
        .env("USER", "op")
        .envs(settings.iter().map(|(name, value)| (variable(name), value)))
        .envs(variables.iter().copied())
        .output()
        .expect("the binary under test runs")
}

fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
