//! The place where a fleet on this machine lives: a directory, a redis-server in it, and the guard that removes the
//! directory even if this process is killed.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::leftovers::{Guard, Leftovers, directory_of_ours};
use super::redis_server::{RedisServer, StartError};

/// A directory of our own user, which is removed even if this process is killed.
#[derive(Debug)]
pub(crate) struct Ground {
    directory: TempDir,
    guard: Guard,
    program: PathBuf,
}

/// The same with a running redis-server, which only our own user can use.
#[derive(Debug)]
pub(crate) struct Site {
    /// Dropped first: no process writes into the directory while it is removed.
    redis: RedisServer,
    ground: Ground,
}

impl Ground {
    /// Makes one. `name` is part of the directory's name.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let directory = directory_of_ours(&std::env::temp_dir(), name)?;
        let leftovers = Leftovers { directory: Some(directory.path().to_owned()), engine: None };
        let guard = Guard::start(&program, &leftovers.arguments())?;
        Ok(Self { directory, guard, program })
    }

    /// The running program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Where everything is kept.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Removes everything; false where something stayed behind.
    pub(crate) async fn close(self) -> bool {
        drop(self.directory);
        self.guard.finish().await
    }
}

impl Site {
    /// Opens one. `name` is part of the directory's name.
    pub(crate) fn open(name: &str) -> Result<Self, StartError> {
        let ground = Ground::open(name)?;
        let redis = RedisServer::start_private(ground.directory())?;
        Ok(Self { redis, ground })
    }

    /// A guard for something else, of the same making.
    pub(crate) fn guard(&self, leftovers: &Leftovers) -> io::Result<Guard> {
        Guard::start(self.program(), &leftovers.arguments())
    }

    /// The running program.
    pub(crate) fn program(&self) -> &Path {
        self.ground.program()
    }

    /// Where everything is kept.
    pub(crate) fn directory(&self) -> &Path {
        self.ground.directory()
    }

    /// The redis-server.
    pub(crate) fn redis(&mut self) -> &mut RedisServer {
        &mut self.redis
    }

    /// Stops Redis and removes everything; false where something stayed behind.
    pub(crate) async fn close(self) -> bool {
        drop(self.redis);
        self.ground.close().await
    }
}
