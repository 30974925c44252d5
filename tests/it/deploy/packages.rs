//! The Debian package and the tarball: made, installed on a copy of this machine, and started there by its systemd.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::tools::passes;
use super::{STARTJOBS, debian, root, shown, temporary};
use crate::support::world::World;

/// Installing, booting and draining take their time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Both packages of the binary under test.
fn packages(out: &Path) -> (PathBuf, PathBuf) {
    let mut script = Command::new(root().join("deploy/package.sh"));
    let made = script.args(["--binary", STARTJOBS, "--out"]).arg(out).output().expect("the script runs");
    assert!(made.status.success(), "{}", shown(&made));
    let named = String::from_utf8(made.stdout).expect("text");
    let named: Vec<PathBuf> = named.lines().map(PathBuf::from).collect();
    let [package, tarball] = named.as_slice() else { panic!("{named:?}") };
    (package.clone(), tarball.clone())
}

/// The script that installs and boots, and what it has said.
struct Copy {
    script: Child,
    words: std::sync::mpsc::Receiver<String>,
}

impl Copy {
    fn of_this_machine(package: &Path, url: &str) -> Self {
        let mut script = Command::new("unshare")
            .arg("--mount")
            .arg(root().join("tests/it/deploy/packages.sh"))
            .args([package.to_str().expect("text"), url, "docker.io/galaxy/**"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare comes with util-linux");
        let said = BufReader::new(script.stdout.take().expect("it is piped"));
        let (tell, words) = std::sync::mpsc::channel();
        thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { script, words }
    }

    /// The next word, which must be this one.
    fn says(&self, expected: &str) {
        let word = self.words.recv_timeout(PATIENCE);
        assert_eq!(word.as_deref(), Ok(expected), "the copy of the machine");
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // It waits for a line, or for the end of its input, and ends by itself.
        drop(self.script.stdin.take());
        drop(self.script.wait());
    }
}

#[tokio::test]
async fn the_package_is_installed_started_by_systemd_and_removed() {
    for (program, package) in [("systemd-nspawn", "systemd-container"), ("man", "man-db"), ("dpkg-deb", "dpkg")] {
        if debian(program, package).is_none() {
            return;
        }
    }
    let folder = temporary();
    let (package, tarball) = packages(folder.path());
    holds_what_is_promised(&tarball);
    let mut world = World::new().await;
    world.redis(&["ACL", "SETUSER", "replica", "on", ">packaged", "~*", "&*", "+@all"]).await;
    let url = world.redis.url().replace("redis://", "redis://replica@");
    let mut copy = Copy::of_this_machine(&package, &url);
    for word in ["installed", "verified", "booted", "started"] {
        copy.says(word);
    }
    let presences = world.presences().await;
    assert_eq!(presences.len(), 2, "{presences:?}");
    world.send_games("packaged", 20).await;
    let account = world.settled().await;
    assert_eq!(account.outcomes.get("started"), Some(&20), "{account:?}");
    copy.script.stdin.as_mut().expect("it is piped").write_all(b"go on\n").expect("it reads");
    for word in ["drained", "removed"] {
        copy.says(word);
    }
    assert!(copy.script.wait().expect("it ends").success());
}

/// The tarball, as it is to be unpacked below /usr/local.
fn holds_what_is_promised(tarball: &Path) {
    let listed = passes(Command::new("tar").arg("-tzf").arg(tarball));
    for file in [
        "bin/startjobs",
        "lib/systemd/system/startjobs@.service",
        "lib/systemd/system/startjobs.target",
        "share/man/man1/startjobs-worker.1.gz",
        "share/bash-completion/completions/startjobs",
        "share/zsh/site-functions/_startjobs",
        "share/fish/vendor_completions.d/startjobs.fish",
        "share/doc/startjobs/operations.md",
        "share/startjobs/startjobs.env.example",
    ] {
        assert!(listed.contains(&format!("/{file}\n")), "{file} is missing:\n{listed}");
    }
}
