//! The root file system of an image, put together from programs and files of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::dockerd::{add_program, find_program};

/// Users as images have them.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n\
    games:x:5:60::/tmp:/bin/false\nplayer:x:1000:1000::/tmp:/bin/false\nserver:x:999:999::/data:/bin/false\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\ngames:x:60:\nplayer:x:1000:\nserver:x:999:\n";

/// A root file system that comes about.
pub(super) struct Rootfs {
    stage: TempDir,
}

impl Rootfs {
    /// One with users, and a directory for temporary files.
    pub(super) fn new() -> Self {
        let rootfs = Self { stage: tempfile::tempdir().expect("a temporary directory") };
        rootfs
            .file("etc/passwd", PASSWD)
            .file("etc/group", GROUP)
            .file("etc/nsswitch.conf", "passwd: files\nhosts: files\n");
        rootfs.directory("run", 0o755).directory("tmp", 0o1777).directory("var/log", 0o755).directory("root", 0o700);
        rootfs
    }

    fn at(&self, path: &str) -> PathBuf {
        self.stage.path().join(path.trim_start_matches('/'))
    }

    /// A program of this machine, where it has it; `Err`: its name.
    pub(super) fn program(&self, name: &'static str) -> Result<&Self, &'static str> {
        let known = Path::new("/usr/games").join(name);
        let found = ["/usr/bin", "/usr/sbin"].map(|dir| Path::new(dir).join(name)).into_iter().chain([known]);
        let program = found.into_iter().find(|path| path.is_file()).or_else(|| find_program(name)).ok_or(name)?;
        add_program(self.stage.path(), &format!("usr/bin/{name}"), &program);
        Ok(self)
    }

    /// A shell and the ordinary commands.
    pub(super) fn busybox(&self) -> Result<&Self, &'static str> {
        self.program("busybox")?;
        self.directory("bin", 0o755);
        for name in ["sh", "chown", "find", "id"] {
            std::os::unix::fs::symlink("/usr/bin/busybox", self.at(&format!("bin/{name}"))).expect("the stage is ours");
        }
        Ok(self)
    }

    /// What this machine has there, where it has it; `Err`: its path.
    pub(super) fn tree(&self, path: &'static str) -> Result<&Self, &'static str> {
        let target = self.at(path);
        fs::create_dir_all(target.parent().expect("it is below the root")).expect("the stage is ours");
        let copied = Command::new("cp").arg("-a").arg(path).arg(&target).output().expect("cp is installed");
        if copied.status.success() { Ok(self) } else { Err(path) }
    }

    pub(super) fn directory(&self, path: &str, mode: u32) -> &Self {
        fs::create_dir_all(self.at(path)).expect("the stage is ours");
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).expect("the stage is ours");
        self
    }

    pub(super) fn file(&self, path: &str, content: &str) -> &Self {
        fs::create_dir_all(self.at(path).parent().expect("it is below the root")).expect("the stage is ours");
        fs::write(self.at(path), content).expect("the stage is ours");
        self
    }

    pub(super) fn script(&self, path: &str, content: &str) -> &Self {
        self.file(path, content);
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o755)).expect("the stage is ours");
        self
    }

    /// All of it as root's, as an engine imports it.
    pub(super) fn archive(&self) -> Vec<u8> {
        let root = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.stage.path(), root).expect("the stage is ours");
        let owned = ["--owner=0", "--group=0", "-c", "."];
        let tar = Command::new("tar").arg("-C").arg(self.stage.path()).args(owned).output().expect("tar is installed");
        assert!(tar.status.success(), "tar: {}", String::from_utf8_lossy(&tar.stderr));
        tar.stdout
    }
}
