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

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use startjobs::embedded::redis_server::RedisServer;
use tempfile::TempDir;

use crate::support::scrape::free_port;

/// An authority, what it signed for a server under these names, and a client's certificate.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new(hosts: &[&str]) -> Self {
        Self::valid_for("30", hosts)
    }

    /// A negative number of days: they expired before they were made.
    fn valid_for(days: &str, hosts: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("startjobs-tls-").tempdir().expect("a temporary directory");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/tls/make-certificates.sh");
        let output = Command::new(script).arg(folder.path()).args(hosts).env("DAYS", days).output();
        let output = output.expect("the script runs");
        assert!(output.status.success(), "package openssl is needed: {}", said(&output));
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("text").to_owned()
    }

    /// These certificates of a server instead of one's own, with the authority that signs for its clients.
    fn replace_server_with(&self, other: &Self) {
        for name in ["ca.pem", "server-cert.pem", "server-key.pem"] {
            fs::copy(other.path(name), self.path(name)).expect("both folders are ours");
        }
    }

    /// Settings of a client: the authority, and the client's certificate.
    fn settings(&self, peer: &str) -> Vec<(String, String)> {
        [("ca", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")]
            .map(|(kind, file)| (format!("{peer}-tls-{kind}-file"), self.path(file)))
            .into()
    }
}

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
