//! One key of the file, and what it changes in the terms that every container gets.

use std::time::Duration;

use super::terms::Terms;
use crate::engine::sandbox::{Gpus, LogRotation, Mount, Sandbox, Ulimit};
use crate::quantity::size_text;
use crate::secret::Secret;

/// The changes of one section of the file, in the order of its keys. No two are of the same key.
pub(crate) type Layer = Vec<Set>;

/// A change, and where it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) change: Change,
    /// The line in the file.
    pub(crate) line: usize,
}

/// What a key changes. None is what `off` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Memory(Option<u64>),
    Cpus(Option<u64>),
    Pids(Option<u32>),
    User(Option<String>),
    Capabilities(Vec<String>),
    NoNewPrivileges(bool),
    ReadOnly(bool),
    /// A path, and its mount options.
    Tmpfs(String, Option<String>),
    Network(Option<String>),
    LogMaxSize(Option<u64>),
    LogFiles(u32),
    /// A name, and its soft and hard limit.
    Ulimit(String, Option<(i64, i64)>),
    Runtime(Option<String>),
    Mounts(Vec<Mount>),
    Gpus(Option<Gpus>),
    StopGrace(Duration),
    Env(String, Secret),
    Label(String, String),
}

/// Files of a log that is rotated, where nothing says how many.
const LOG_FILES: u32 = 3;

/// The terms after all changes of these layers; later ones win.
pub(crate) fn terms_of(layers: &[&Layer]) -> Terms {
    let mut terms = Terms::default();
    let changes = || layers.iter().flat_map(|layer| layer.iter()).map(|set| &set.change);
    changes().for_each(|change| change.apply(&mut terms));
    // Whatever the order of the keys, it is about the rotation that is left in the end.
    let mut files =
        changes().filter_map(|change| if let Change::LogFiles(files) = change { Some(*files) } else { None });
    if let (Some(files), Some(log)) = (files.next_back(), &mut terms.sandbox.log) {
        log.files = files;
    }
    terms
}

/// What a container gets where the file says nothing, as changes.
pub(crate) fn built_in() -> Vec<Change> {
    let Sandbox {
        memory,
        nano_cpus,
        pids,
        user,
        capabilities,
        no_new_privileges,
        read_only,
        tmpfs,
        network,
        log,
        ulimits,
        runtime,
        mounts,
        gpus,
        stop_grace,
    } = Sandbox::default();
    let mut changes = vec![
        Change::Memory(memory),
        Change::Cpus(nano_cpus),
        Change::Pids(pids),
        Change::User(user),
        Change::Capabilities(capabilities),
        Change::NoNewPrivileges(no_new_privileges),
        Change::ReadOnly(read_only),
        Change::Network(network),
        Change::Mounts(mounts),
        Change::LogMaxSize(log.map(|log| log.max_size)),
        Change::LogFiles(log.map_or(LOG_FILES, |log| log.files)),
        Change::Runtime(runtime),
        Change::Gpus(gpus),
        Change::StopGrace(stop_grace),
    ];
    changes.extend(tmpfs.into_iter().map(|(path, options)| Change::Tmpfs(path, Some(options))));
    changes.extend(ulimits.into_iter().map(|limit| Change::Ulimit(limit.name, Some((limit.soft, limit.hard)))));
    changes
}

fn cpus_text(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn limit_text(limit: i64) -> String {
    if limit == -1 { "unlimited".to_owned() } else { limit.to_string() }
}

fn mount_text(mount: &Mount) -> String {
    let Mount { source, target, read_only } = mount;
    format!("{source} at {target} ({})", if *read_only { "read only" } else { "writable" })
}

impl Change {
    /// The key as the file has it; of an entry of a table with the entry's name.
    pub(crate) fn key(&self) -> String {
        let of = |table: &str, name: &str| format!("{table}.{name}");
        match self {
            Self::Memory(_) => "memory".to_owned(),
            Self::Cpus(_) => "cpus".to_owned(),
            Self::Pids(_) => "pids".to_owned(),
            Self::User(_) => "user".to_owned(),
            Self::Capabilities(_) => "capabilities".to_owned(),
            Self::NoNewPrivileges(_) => "no-new-privileges".to_owned(),
            Self::ReadOnly(_) => "read-only".to_owned(),
            Self::Tmpfs(path, _) => of("tmpfs", path),
            Self::Network(_) => "network".to_owned(),
            Self::LogMaxSize(_) => "log-max-size".to_owned(),
            Self::LogFiles(_) => "log-files".to_owned(),
            Self::Ulimit(name, _) => of("ulimits", name),
            Self::Runtime(_) => "runtime".to_owned(),
            Self::Mounts(_) => "mounts".to_owned(),
            Self::Gpus(_) => "gpus".to_owned(),
            Self::StopGrace(_) => "stop-grace".to_owned(),
            Self::Env(name, _) => of("env", name),
            Self::Label(name, _) => of("labels", name),
        }
    }

    /// The value for people; of a secret, stars.
    pub(crate) fn shown(&self) -> String {
        fn or<T>(value: Option<&T>, none: &str, shown: impl Fn(&T) -> String) -> String {
            value.map_or_else(|| none.to_owned(), shown)
        }
        match self {
            Self::Memory(bytes) => or(bytes.as_ref(), "unlimited", |bytes| size_text(*bytes)),
            Self::Cpus(nano) => or(nano.as_ref(), "unlimited", |nano| cpus_text(*nano)),
            Self::Pids(pids) => or(pids.as_ref(), "unlimited", u32::to_string),
            Self::User(user) => or(user.as_ref(), "as the image says", String::clone),
            Self::Capabilities(kept) if kept.is_empty() => "none".to_owned(),
            Self::Capabilities(kept) => kept.join(" "),
            Self::NoNewPrivileges(is_on) | Self::ReadOnly(is_on) => is_on.to_string(),
            Self::Tmpfs(_, options) => or(options.as_ref(), "none", String::clone),
            Self::Network(network) => or(network.as_ref(), "the engine's default bridge", String::clone),
            Self::LogMaxSize(size) => or(size.as_ref(), "as the engine is configured", |size| size_text(*size)),
            Self::LogFiles(files) => files.to_string(),
            Self::Ulimit(_, limits) => or(limits.as_ref(), "as the engine is configured", |(soft, hard)| {
                if soft == hard { limit_text(*soft) } else { format!("{} to {}", limit_text(*soft), limit_text(*hard)) }
            }),
            Self::Runtime(runtime) => or(runtime.as_ref(), "the engine's default", String::clone),
            Self::Mounts(mounts) if mounts.is_empty() => "none".to_owned(),
            Self::Mounts(mounts) => mounts.iter().map(mount_text).collect::<Vec<_>>().join(", "),
            Self::Gpus(None) => "none".to_owned(),
            Self::Gpus(Some(Gpus::All)) => "all".to_owned(),
            Self::Gpus(Some(Gpus::Count(count))) => count.to_string(),
            Self::StopGrace(grace) => humantime::format_duration(*grace).to_string(),
            Self::Env(_, value) => value.to_string(),
            Self::Label(_, value) => value.clone(),
        }
    }

    fn apply(&self, terms: &mut Terms) {
        let sandbox = &mut terms.sandbox;
        match self {
            Self::Memory(bytes) => sandbox.memory = *bytes,
            Self::Cpus(nano) => sandbox.nano_cpus = *nano,
            Self::Pids(pids) => sandbox.pids = *pids,
            Self::User(user) => sandbox.user.clone_from(user),
            Self::Capabilities(kept) => sandbox.capabilities.clone_from(kept),
            Self::NoNewPrivileges(is_on) => sandbox.no_new_privileges = *is_on,
            Self::ReadOnly(is_on) => sandbox.read_only = *is_on,
            Self::Tmpfs(path, Some(options)) => drop(sandbox.tmpfs.insert(path.clone(), options.clone())),
            Self::Tmpfs(path, None) => drop(sandbox.tmpfs.remove(path)),
            Self::Network(network) => sandbox.network.clone_from(network),
            Self::LogMaxSize(None) => sandbox.log = None,
            Self::LogMaxSize(Some(max_size)) => {
                let files = sandbox.log.map_or(LOG_FILES, |log| log.files);
                sandbox.log = Some(LogRotation { max_size: *max_size, files });
            }
            Self::LogFiles(_) => {}
            Self::Ulimit(name, limits) => {
                sandbox.ulimits.retain(|known| known.name != *name);
                let added = limits.map(|(soft, hard)| Ulimit { name: name.clone(), soft, hard });
                sandbox.ulimits.extend(added);
            }
            Self::Runtime(runtime) => sandbox.runtime.clone_from(runtime),
            Self::Mounts(mounts) => sandbox.mounts.clone_from(mounts),
            Self::Gpus(gpus) => sandbox.gpus = *gpus,
            Self::StopGrace(grace) => sandbox.stop_grace = *grace,
            Self::Env(name, value) => {
                terms.env.retain(|(known, _)| known != name);
                terms.env.push((name.clone(), value.clone()));
            }
            Self::Label(name, value) => {
                terms.labels.retain(|(known, _)| known != name);
                terms.labels.push((name.clone(), value.clone()));
            }
        }
    }
}
