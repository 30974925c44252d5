//! What a private Docker Engine leaves behind, however it ends, and its removal: an engine that was killed leaves its
//! containerd, its containers, their mounts and its bridge.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long an engine that was asked to stop may take: more than it gives its containers.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// How long what was killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The engine's own programs, as the kernel names processes: their names' first 15 characters.
const PROGRAMS: [&str; 4] = ["dockerd", "containerd", "containerd-shim", "runc"];

/// A private engine, as the one who removes it must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineRemains {
    /// The directory that holds all of its files.
    pub(crate) directory: PathBuf,
    /// The bridge that its containers are on.
    pub(crate) bridge: String,
}

impl EngineRemains {
    /// The command line that leads to [`super::leftovers::remove_engine_after_parent`] with these.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let directory = self.directory.to_string_lossy().into_owned();
        ["dev", "clean-up", "--dockerd-directory", &directory, "--bridge", &self.bridge].map(str::to_owned).into()
    }

    /// Where the engine keeps images and containers.
    pub(super) fn data_root(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Where it keeps what is gone with it.
    pub(super) fn exec_root(&self) -> PathBuf {
        self.directory.join("exec")
    }

    /// Removes everything but the directory. The engine was asked to stop before.
    pub(super) async fn remove(&self) -> Result<(), String> {
        let mut containers = self.containers();
        let stops_until = Instant::now() + STOPS_WITHIN;
        while Instant::now() < stops_until && self.engine_runs() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        // Created meanwhile, and not removed.
        containers.extend(self.containers());
        let gone_until = Instant::now() + GONE_WITHIN;
        // What was about to start another process may have done so: look twice.
        let mut empty_looks = 0;
        while empty_looks < 2 {
            let left = self.processes(&containers);
            empty_looks = if left.is_empty() { empty_looks + 1 } else { 0 };
            if Instant::now() > gone_until {
                return Err(format!("processes {left:?} of the engine in {} do not end", self.directory.display()));
            }
            for pid in left {
                // An error says that it has just ended.
                kill_process(pid, Signal::KILL).ok();
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        for point in mounts_below(&self.directory) {
            // One above it may have taken it along. What stays mounted keeps the directory from being removed.
            run("umount", &["--lazy".into(), point.into()]).ok();
        }
        remove_bridge(&self.bridge)
    }

    /// The ids of containers that the engine has not removed.
    fn containers(&self) -> HashSet<String> {
        let listed = fs::read_dir(self.data_root().join("containers"));
        let names =
            listed.into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| is_container_id(name)).collect()
    }

    fn engine_runs(&self) -> bool {
        processes().any(|(pid, name)| name == "dockerd" && self.is_ours(pid))
    }

    /// What still runs of the engine's programs and in these containers.
    fn processes(&self, containers: &HashSet<String>) -> Vec<Pid> {
        let is_left = |&(pid, ref name): &(Pid, String)| {
            (PROGRAMS.contains(&name.as_str()) && self.is_ours(pid)) || is_in_one_of(pid, containers)
        };
        processes().filter(is_left).map(|(pid, _)| pid).collect()
    }

    /// Its command line names a file in the directory, as each of the engine's programs does.
    fn is_ours(&self, pid: Pid) -> bool {
        let words = fs::read(of_process(pid, "cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&format!("{}/", self.directory.display()))
    }
}

/// Removes a bridge; it may be gone already.
pub(super) fn remove_bridge(name: &str) -> Result<(), String> {
    if !Path::new("/sys/class/net").join(name).exists() {
        return Ok(());
    }
    run("ip", &["link".into(), "delete".into(), name.into()])
}

/// Runs a program of the system; what it says where it fails.
pub(super) fn run(program: &str, arguments: &[OsString]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{program} is not installed"),
        _ => format!("{program}: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn is_container_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The engine names each container's control group after its id.
fn is_in_one_of(pid: Pid, containers: &HashSet<String>) -> bool {
    let groups = fs::read_to_string(of_process(pid, "cgroup")).unwrap_or_default();
    let mut words = groups.split(|letter: char| !letter.is_ascii_hexdigit());
    words.any(|word| containers.contains(word))
}

fn of_process(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{file}", pid.as_raw_nonzero()))
}

/// Every process of this machine with its name; those that have ended and wait for their parent have no command line, and are
/// never ours.
fn processes() -> impl Iterator<Item = (Pid, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name is in brackets, and may hold anything; the state follows.
        let (head, rest) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once(" (")?;
        (!rest.starts_with('Z')).then(|| (pid, name.to_owned()))
    })
}

/// Points below a directory at which something is mounted, the innermost first.
fn mounts_below(directory: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    points_below(&mounts, directory)
}

fn points_below(mounts: &str, directory: &Path) -> Vec<String> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below: Vec<String> =
        points.filter(|point| Path::new(point).starts_with(directory)).map(str::to_owned).collect();
    below.reverse();
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_mounted_last_is_unmounted_first_and_nothing_elsewhere() {
        let mounts = "1 2 0:1 / /tmp/a rw\n1 2 0:1 / /tmp/a/data/overlay rw\n1 2 0:1 / /tmp/ab rw\n1 2 0:1 / / rw\n";
        assert_eq!(points_below(mounts, Path::new("/tmp/a")), ["/tmp/a/data/overlay", "/tmp/a"]);
    }

    #[test]
    fn only_processes_of_its_own_containers_and_programs_are_found() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let id = "a".repeat(64);
        fs::create_dir_all(directory.path().join("data/containers").join(&id)).expect("a directory");
        fs::create_dir_all(directory.path().join("data/containers/other")).expect("a directory");
        let remains = EngineRemains { directory: directory.path().to_owned(), bridge: "none-of-ours".to_owned() };
        assert_eq!(remains.containers(), HashSet::from([id]));
        // This test names the directory, and is none of the engine's programs.
        let mut child = Command::new("tail").args(["-f", "/dev/null"]).arg(directory.path().join("x")).spawn();
        assert_eq!(remains.processes(&remains.containers()), []);
        assert!(!remains.engine_runs());
        if let Ok(child) = &mut child {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }
}
