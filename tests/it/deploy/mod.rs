//! What is in deploy/ and in the documents about it, against the real parts.

// where the checkers are
mod tools;
// every file through its checker, and against each other
mod files;
// the files for hosts with an engine of their own
mod hosts;
// the strict policy that all of them have
mod policy;
// the credentials of registries that all of them can have
mod registries;
// an engine that has lost the volumes of its host
mod pruned;
// which build a program is of
mod build;
// the command line of docker on a private engine
mod docker;
// the image, built and run
mod image;
// the fleet of deploy/compose.yaml, brought up
mod compose;
// the Debian package and the tarball, installed and started
mod packages;
// the pictures of the page, and the script that makes them
mod screenshots;
// a replica and the commands under the rights that deploy/redis gives them
mod rights;
// what people may do on the page with the rights of a replica
mod page;
// each right of the replicas is withdrawn for a moment
mod withdrawn;
// the rights that only the death notice needs, likewise
mod notice;
// every form of a Redis connection
mod forms;
// the commands that the documents show
mod documents;
// from the original worker to the fleet and back
mod migration;

pub use self::compose::{Project, found};
pub use self::docker::Docker;
pub use self::documents::{Block, blocks};
pub use self::tools::{debian, left_out, pypi};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use startjobs::embedded::process::Process;
use tempfile::TempDir;

use crate::support::world::PATIENCE;

/// The binary under test.
const STARTJOBS: &str = env!("CARGO_BIN_EXE_startjobs");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn temporary() -> TempDir {
    tempfile::Builder::new().prefix("startjobs-deploy-").tempdir().expect("a temporary directory")
}

/// Every file below a folder, by its path from the root.
fn files_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")) {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root()).expect("below the root").to_str().expect("text").to_owned();
        if path.is_dir() { found.extend(files_below(&name)) } else { found.push(name) }
    }
    found.sort();
    found
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|one| one == extension)
}

fn shown(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Settings of one fleet as environment variables, and its replicas and commands.
struct Surroundings {
    variables: Vec<(String, String)>,
    folder: TempDir,
    replicas: Vec<Process>,
}

impl Surroundings {
    /// Rhythms of the simulated engine, and further settings.
    fn new(settings: &[(&str, &str)]) -> Self {
        let all = crate::support::world::FAST.iter().chain(settings);
        let variables = all.map(|&(name, value)| (variable(name), value.to_owned())).collect();
        Self { variables, folder: temporary(), replicas: Vec::new() }
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("replica-{number}.log"))
    }

    /// Starts a replica.
    fn replica(&mut self) -> usize {
        self.replica_with(&[])
    }

    /// Starts a replica with settings of its own.
    fn replica_with(&mut self, settings: &[(&str, &str)]) -> usize {
        let number = self.replicas.len();
        let own = settings.iter().map(|&(name, value)| (variable(name), value.to_owned()));
        let variables: Vec<(String, String)> = self.variables.iter().cloned().chain(own).collect();
        let arguments = ["worker".to_owned()];
        let replica = Process::start(Path::new(STARTJOBS), &arguments, &variables, &self.log(number));
        self.replicas.push(replica.expect("the binary under test runs"));
        number
    }

    /// A command with the settings of the fleet and nothing else of the environment.
    fn command(&self, arguments: &[&str], others: &[(&str, &str)]) -> Output {
        Command::new(STARTJOBS)
            .args(arguments)
            .env_clear()
            .env("USER", "op")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(others.iter().map(|&(name, value)| (variable(name), value)))
            .output()
            .expect("the binary under test runs")
    }

    /// The same, and it must succeed.
    fn succeeds(&self, arguments: &[&str], others: &[(&str, &str)]) -> String {
        let output = self.command(arguments, others);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", shown(&output), self.logs());
        String::from_utf8(output.stdout).expect("text")
    }

    /// Stops every replica, which must drain.
    fn drain(&mut self) {
        for replica in &self.replicas {
            replica.signal(rustix::process::Signal::TERM);
        }
        for number in 0..self.replicas.len() {
            let status = self.replicas[number].wait(PATIENCE);
            assert_eq!(status.and_then(|status| status.code()), Some(0), "replica {number}\n{}", self.logs());
        }
        self.replicas.clear();
    }

    fn logs(&self) -> String {
        let logs = fs::read_dir(self.folder.path()).expect("the folder is there").flatten();
        logs.map(|log| fs::read_to_string(log.path()).unwrap_or_default()).collect()
    }
}

fn variable(name: &str) -> String {
    format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"))
}
