//! A wall clock that a test sets: for a redis-server, or for a replica.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use startjobs::embedded::redis_server::RedisServer;
use tempfile::TempDir;

/// The clock of the processes that are started with it. It goes as the system's does, and so far ahead of it.
pub struct Clock {
    directory: TempDir,
    ahead: File,
}

impl Clock {
    /// A clock that is right.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("startjobs-clock-").tempdir().expect("a temporary directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/clock_shim.c");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(directory.path().join("shim.so"))
            .arg(source);
        let compiled = compiler.output().expect("cc, which links Rust's programs, runs");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let ahead = File::options().create_new(true).write(true).read(true).open(directory.path().join("ahead"));
        let clock = Self { directory, ahead: ahead.expect("the directory is ours") };
        clock.set(0);
        clock
    }

    /// Sets it so many seconds forward, or back where negative, of what it shows.
    pub fn step(&self, seconds: i64) {
        let mut bytes = [0; 8];
        self.ahead.read_exact_at(&mut bytes, 0).expect("eight bytes");
        self.set(i64::from_ne_bytes(bytes) + seconds * 1_000_000);
    }

    fn set(&self, micros: i64) {
        self.ahead.write_all_at(&micros.to_ne_bytes(), 0).expect("the file is ours");
    }

    fn environment(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.directory.path().join(name).to_string_lossy().into_owned();
        vec![("LD_PRELOAD".to_owned(), path("shim.so")), ("STARTJOBS_TEST_CLOCK".to_owned(), path("ahead"))]
    }

    /// A redis-server that goes by it.
    pub fn redis(&self, program: &Path) -> RedisServer {
        RedisServer::start_in(program, self.environment()).expect("redis-server starts")
    }

    /// The worker's program, going by it.
    pub fn replica_program(&self) -> PathBuf {
        let program = self.directory.path().join("startjobs");
        let variables: Vec<String> =
            self.environment().into_iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        let script = format!("#!/bin/sh\n{} exec '{}' \"$@\"\n", variables.join(" "), env!("CARGO_BIN_EXE_startjobs"));
        fs::write(&program, script).expect("the directory is ours");
        fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("the file is ours");
        program
    }
}
