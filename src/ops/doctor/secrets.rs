//! Where secrets are kept: a file or a flag that other users of this machine can read is no place for one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::finding::{Finding, Level};
use crate::engine::docker::CredentialSources;
use crate::secret::STARS;
use crate::settings::{Origin, ResolvedSetting};

/// What a finding of this file is about.
const ABOUT: &str = "secrets";
/// The settings that name a file with a secret.
const FILES: [&str; 4] = ["redis-password-file", "redis-tls-key-file", "docker-tls-key-file", "admin-token-file"];

/// Files of credentials that are looked at.
const CREDENTIALS_MAX: usize = 100;

/// Looks at the files that the settings name, and at the settings that hold a password themselves.
pub(crate) fn secrets(settings: &[ResolvedSetting]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for setting in settings {
        let (name, value) = (setting.name, setting.value.as_str());
        if FILES.contains(&name) && value != "none" {
            findings.extend(secret_file(name, Path::new(value)));
        }
        if name == "docker-config" && value != "none" {
            findings.extend(docker_config(Path::new(value)));
        }
        if name == "registry-credentials-dir" && value != "none" {
            findings.extend(credentials(Path::new(value)));
        }
        if name == "redis-url" && value.contains(STARS) {
            findings.extend(password_in_url(settings, &setting.origin));
        }
    }
    findings.extend(usable_credentials(settings));
    findings
}

/// Whether what the settings name for registries can be used, before a pull needs it.
fn usable_credentials(settings: &[ResolvedSetting]) -> Vec<Finding> {
    let place = |name: &str| {
        let setting = settings.iter().find(|setting| setting.name == name && setting.value != "none")?;
        Some(PathBuf::from(&setting.value))
    };
    let sources =
        CredentialSources { docker_config: place("docker-config"), folder: place("registry-credentials-dir") };
    let complaint =
        |found| Finding::warn(ABOUT, found, "correct it, or pulls that need it fail with image_pull_failed");
    let findings: Vec<Finding> = sources.complaints().into_iter().map(complaint).collect();
    if findings.is_empty() && sources != CredentialSources::default() {
        return vec![Finding::ok(ABOUT, "the credentials for registries can be read")];
    }
    findings
}

/// The password of `redis-url` is in it, or in the file of the next setting.
fn password_in_url(settings: &[ResolvedSetting], origin: &Origin) -> Option<Finding> {
    let is_in_file = |setting: &ResolvedSetting| setting.name == "redis-password-file" && setting.value != "none";
    if settings.iter().any(is_in_file) {
        return None;
    }
    match origin {
        Origin::Flag(_) => Some(Finding::warn(
            ABOUT,
            "redis-url holds a password and is a flag: every user of this machine can see it in the list of processes",
            "write the password into a file of mode 600 and set redis-password-file",
        )),
        Origin::File { path, .. } => secret_file("redis-url", Path::new(path)),
        Origin::Environment(_) | Origin::Default => None,
    }
}

/// A file, or the folder of one, as the pulls take it.
fn docker_config(path: &Path) -> Option<Finding> {
    if path.is_dir() {
        secret_file("docker-config", &path.join("config.json"))
    } else {
        secret_file("docker-config", path)
    }
}

/// The worst of what is found of the files in the folder: one finding, however many files.
fn credentials(folder: &Path) -> Option<Finding> {
    const SETTING: &str = "registry-credentials-dir";
    let files = fs::read_dir(folder).ok()?.take(CREDENTIALS_MAX).filter_map(|entry| Some(entry.ok()?.path()));
    let findings: Vec<Finding> =
        files.filter(|path| path.is_file()).filter_map(|path| secret_file(SETTING, &path)).collect();
    let is_warning = |finding: &&Finding| finding.level == Level::Warn;
    findings.iter().find(is_warning).or(findings.first()).cloned()
}

/// What is found of a file with a secret; none where the file is gone by now.
pub(crate) fn secret_file(setting: &str, path: &Path) -> Option<Finding> {
    let file = fs::metadata(path).ok()?;
    let shown = path.display();
    let is_closed = fs::canonicalize(path).is_ok_and(|path| is_in_closed_folder(&path));
    let (found, remedy) = match complaint(file.uid(), file.mode(), geteuid().as_raw()) {
        Some(Complaint::Owner(owner)) => (
            format!("the file of {setting}, {shown}, belongs to user {owner}, who can read and change it"),
            format!("chown it to the user of the worker, or to root: {shown}"),
        ),
        Some(Complaint::Mode(mode)) if !is_closed => (
            format!("the file of {setting}, {shown}, is open to other users (mode {mode:04o})"),
            format!("chmod 600 {shown}"),
        ),
        Some(Complaint::Mode(_)) | None => {
            return Some(Finding::ok(ABOUT, format!("the file of {setting} is closed to other users")));
        }
    };
    Some(Finding::warn(ABOUT, found, remedy))
}

/// What is wrong with a file of a secret.
#[derive(Debug, PartialEq, Eq)]
enum Complaint {
    /// It belongs to this user.
    Owner(u32),
    /// Others may read or change it.
    Mode(u32),
}

/// As PostgreSQL judges the file of a key: the group may read a file of root, which is how a service is given one.
fn complaint(owner: u32, mode: u32, me: u32) -> Option<Complaint> {
    const ROOT: u32 = 0;
    let others = match owner {
        ROOT => 0o037,
        _ if owner == me => 0o077,
        _ => return Some(Complaint::Owner(owner)),
    };
    (mode & others != 0).then_some(Complaint::Mode(mode & 0o7777))
}

/// Is there a folder above it that neither a group nor others may enter?
fn is_in_closed_folder(path: &Path) -> bool {
    let is_closed = |folder: &Path| fs::metadata(folder).is_ok_and(|folder| folder.mode() & 0o011 == 0);
    path.ancestors().skip(1).any(is_closed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_judged_by_its_owner_and_its_mode() {
        for (owner, mode, expected) in [
            (7, 0o100_600, None),
            (7, 0o100_400, None),
            (7, 0o100_640, Some(Complaint::Mode(0o640))),
            (7, 0o100_604, Some(Complaint::Mode(0o604))),
            (7, 0o100_602, Some(Complaint::Mode(0o602))),
            (0, 0o100_640, None),
            (0, 0o100_660, Some(Complaint::Mode(0o660))),
            (0, 0o100_644, Some(Complaint::Mode(0o644))),
            (8, 0o100_600, Some(Complaint::Owner(8))),
        ] {
            assert_eq!(complaint(owner, mode, 7), expected, "{owner} {mode:o}");
        }
    }

    #[test]
    fn an_open_file_of_credentials_is_warned_of() {
        // No folder above it is closed, as those that the tests make are.
        let folder = tempfile::tempdir().expect("a temporary directory");
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
        set(folder.path(), 0o755);
        for (name, mode) in [("closed.example", 0o600), ("open.example", 0o644), ("config.json", 0o644)] {
            fs::write(folder.path().join(name), "x:y").expect("the folder is ours");
            set(&folder.path().join(name), mode);
        }
        for found in [credentials(folder.path()), docker_config(folder.path())] {
            let found = found.expect("there are files");
            assert_eq!(found.level, Level::Warn, "{found:?}");
        }
        for name in ["open.example", "config.json"] {
            set(&folder.path().join(name), 0o600);
        }
        let found = credentials(folder.path()).expect("there are files");
        assert_eq!(found.level, Level::Ok, "{found:?}");
    }

    #[test]
    fn a_closed_folder_closes_what_is_in_it() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let file = parent.path().join("file");
        fs::write(&file, "x").expect("the folder is ours");
        let close = |mode| fs::set_permissions(parent.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
        close(0o700);
        assert!(is_in_closed_folder(&file));
    }
}
