//! Certificates as an operator makes them, with `deploy/tls`.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// An authority, what it signed for a server under these names, and a client's certificate.
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    pub fn new(hosts: &[&str]) -> Self {
        Self::valid_for("30", hosts)
    }

    /// A negative number of days: they expired before they were made.
    pub fn valid_for(days: &str, hosts: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("startjobs-tls-").tempdir().expect("a temporary directory");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/tls/make-certificates.sh");
        let output = Command::new(script).arg(folder.path()).args(hosts).env("DAYS", days).output();
        let output = output.expect("the script runs");
        assert!(output.status.success(), "package openssl is needed: {}", String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    /// Where all of it is.
    pub fn folder(&self) -> &str {
        self.folder.path().to_str().expect("text")
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("text").to_owned()
    }

    /// These certificates of a server instead of one's own, with the authority that signs for its clients.
    pub fn replace_server_with(&self, other: &Self) {
        for name in ["ca.pem", "server-cert.pem", "server-key.pem"] {
            fs::copy(other.path(name), self.path(name)).expect("both folders are ours");
        }
    }

    /// Settings of a client: the authority, and the client's certificate.
    pub fn settings(&self, peer: &str) -> Vec<(String, String)> {
        [("ca", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")]
            .map(|(kind, file)| (format!("{peer}-tls-{kind}-file"), self.path(file)))
            .into()
    }
}
