//! The command line of Docker on a private engine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::tools::debian;
use super::{STARTJOBS, root, shown, temporary};
use crate::support::dockerd::Dockerd;

/// The command line of docker, against the private engine.
pub struct Docker {
    program: PathBuf,
    host: String,
    home: tempfile::TempDir,
}

impl Docker {
    /// None where the program is missing.
    pub fn of(dockerd: &Dockerd) -> Option<Self> {
        let client = debian("docker", "docker.io")?;
        Some(Self { program: client.get_program().into(), host: dockerd.host(), home: temporary() })
    }

    /// Builds the image of the binary under test with deploy/image.sh.
    pub fn build(&self, dockerd: &Dockerd, tag: &str) {
        // The binary of a test is dynamic: its libraries are what it is built over.
        let base = "startjobs-base:test";
        dockerd.import_image(base, Path::new(STARTJOBS), &[], &[]);
        let script = root().join("deploy/image.sh");
        let built = self.prepared(Command::new(script).args(["--tag", tag, "--binary", STARTJOBS, "--base", base]));
        assert!(built.status.success(), "{}", shown(&built));
        assert_eq!(String::from_utf8_lossy(&built.stdout).trim(), tag);
    }

    /// The URL of the engine's socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What a command of it came to.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.prepared(Command::new(&self.program).args(arguments))
    }

    /// Runs another program on the same engine.
    pub fn prepared(&self, command: &mut Command) -> Output {
        command.env("DOCKER_HOST", &self.host).env("HOME", self.home.path()).output().expect("it runs")
    }

    /// What a command of it says; it must succeed.
    pub fn text(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "docker {arguments:?}: {}", shown(&output));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// What the engine knows of a container or an image.
    pub fn inspect(&self, what: &str) -> Value {
        let all: Value = serde_json::from_str(&self.text(&["inspect", what])).expect("JSON");
        all[0].clone()
    }
}
