//! The clock of a redis-server, which stands still until a test sets it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use startjobs::embedded::redis_server::RedisServer;
use tempfile::TempDir;

pub struct Clock {
    directory: TempDir,
    told: File,
}

impl Clock {
    pub fn standing_at(ms: u64) -> Self {
        let directory = tempfile::Builder::new().prefix("startjobs-clock-").tempdir().expect("a temporary directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/clock_shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]);
        let compiled =
            compiler.arg(directory.path().join("shim.so")).arg(source).output().expect("cc links Rust's programs");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let told = File::options().create_new(true).write(true).open(directory.path().join("told")).expect("ours");
        let clock = Self { directory, told };
        clock.set(ms);
        clock
    }

    /// It stands at so many Unix milliseconds.
    pub fn set(&self, ms: u64) {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&(ms * 1_000).to_ne_bytes());
        self.told.write_all_at(&bytes, 0).expect("the file is ours");
    }

    /// A redis-server that goes by it.
    pub fn redis(&self, program: &Path) -> RedisServer {
        let path = |name: &str| self.directory.path().join(name).to_string_lossy().into_owned();
        let environment = [("LD_PRELOAD", path("shim.so")), ("STARTJOBS_TEST_CLOCK", path("told"))];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        RedisServer::start_in(program, environment.to_vec()).expect("redis-server starts")
    }
}
