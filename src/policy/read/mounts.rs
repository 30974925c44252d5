//! Which files of the host a container may see.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::engine::sandbox::Mount;

/// With each of these a game has its host, or everything that other containers have.
const FORBIDDEN: [&str; 25] = [
    "/boot",
    "/dev",
    "/etc/docker",
    "/etc/gshadow",
    "/etc/kubernetes",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssh",
    "/etc/sudoers",
    "/proc",
    "/root",
    "/run/buildkit",
    "/run/containerd",
    "/run/crio",
    "/run/docker",
    "/run/docker.sock",
    "/run/k3s",
    "/run/podman",
    "/run/systemd",
    "/run/user",
    "/sys",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/kubelet",
];
/// What the kernel gives every container itself.
const TARGETS: [&str; 3] = ["/dev", "/proc", "/sys"];
const SOCKETS: [&str; 5] = ["docker.sock", "containerd.sock", "podman.sock", "crio.sock", "dockershim.sock"];
/// The proxy's socket in the files of Compose, and the key of a host: what this project itself keeps in volumes.
const VOLUMES: [&str; 3] = ["startjobs_engine", "startjobs-host_engine", "rtm-engine"];
const CHARS_MAX: usize = 1_024;
pub(super) const FORM: &str = "is a list of mounts; write [{ source = \"/srv/maps\", target = \"/maps\" }]";

/// One mount, and what to warn of.
pub(super) fn read(value: &DeValue<'_>) -> Result<(Mount, Option<String>), String> {
    let DeValue::Table(table) = value else {
        return Err("is not a mount; write { source = \"/srv/maps\", target = \"/maps\" }".to_owned());
    };
    if let Some((key, _)) = table.iter().find(|(key, _)| !["source", "target", "read-only"].contains(&&**key.get_ref()))
    {
        let shown: String = key.get_ref().chars().take(40).collect();
        return Err(format!("has {shown:?}, but a mount has source, target and read-only"));
    }
    let (source, target) = (text(table, "source")?, text(table, "target")?);
    let read_only = match table.get("read-only").map(Spanned::get_ref) {
        None => true,
        Some(DeValue::Boolean(flag)) => *flag,
        Some(_) => return Err("has a read-only that is neither true nor false".to_owned()),
    };
    let source = check_source(source)?;
    let target = check_path(target).map_err(|why| format!("has the target {target:?}, which {why}"))?;
    if target == "/" || TARGETS.iter().any(|own| is_within(&target, own)) {
        return Err(format!("has the target {target:?}, which the kernel needs; mount elsewhere"));
    }
    let warning = (!read_only && source.starts_with('/'))
        .then(|| format!("lets games write to {source} of the host; add read-only = true if they need not"));
    Ok((Mount { source, target, read_only }, warning))
}

fn text<'t>(table: &'t DeTable<'_>, key: &str) -> Result<&'t str, String> {
    match table.get(key).map(Spanned::get_ref) {
        Some(DeValue::String(text)) if text.len() <= CHARS_MAX => Ok(text),
        Some(_) => Err(format!("has a {key} that is no text of at most {CHARS_MAX} characters")),
        None => Err(format!("has no {key}; write {{ source = \"/srv/maps\", target = \"/maps\" }}")),
    }
}

/// A path of the host, or the name of a volume.
fn check_source(source: &str) -> Result<String, String> {
    if VOLUMES.contains(&source) {
        return Err(format!("has the source {source:?}, a volume of the fleet itself; make one for the games"));
    }
    if !source.contains('/') {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let begins_well = source.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        if begins_well && source.chars().all(plain) {
            return Ok(source.to_owned());
        }
        return Err(format!("has the source {source:?}, which is neither an absolute path nor the name of a volume"));
    }
    let path = check_path(source).map_err(|why| format!("has the source {source:?}, which {why}"))?;
    // /var/run is /run on every current system.
    let real = path.strip_prefix("/var/run").map_or_else(|| path.clone(), |rest| format!("/run{rest}"));
    let real = if real == "/run" || real.starts_with("/run/") { real } else { path.clone() };
    let is_socket = SOCKETS.iter().any(|socket| real.rsplit('/').next() == Some(socket));
    if is_socket {
        return Err(format!(
            "has the source {source:?}: a game that reaches the engine's socket has the whole host; this is never allowed"
        ));
    }
    match FORBIDDEN.iter().find(|path| is_within(&real, path) || is_within(path, &real)) {
        Some(forbidden) => Err(format!(
            "has the source {source:?}, which gives games {forbidden} of the host; mount a folder that is made for them"
        )),
        None => Ok(path),
    }
}

/// An absolute path without detours, or why it is none.
fn check_path(path: &str) -> Result<String, &'static str> {
    if !path.starts_with('/') {
        return Err("is not an absolute path");
    }
    if path.chars().any(|letter| letter.is_control() || letter == ':' || letter == ',') {
        return Err("has a colon, a comma or a control character, which the engine cannot take");
    }
    if path.split('/').any(|part| part == "." || part == "..") {
        return Err("has a part `.` or `..`; write where it leads");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Ok(format!("/{}", parts.join("/")))
}

/// Whether a path is this folder or below it.
fn is_within(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path inside a container for a file system in memory.
pub(super) fn tmpfs_path(path: &str) -> Result<String, String> {
    let path = check_path(path)?;
    if path == "/" || TARGETS[1..].iter().any(|own| is_within(&path, own)) || path == "/dev" {
        return Err("is a path that the kernel needs".to_owned());
    }
    Ok(path)
}
