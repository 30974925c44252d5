//! The policy file, read whole.

use std::fmt;
use std::path::{Path, PathBuf};

use super::problem::Report;
use super::read::{Read, parse};
use crate::files::read_regular;

/// Larger is no policy, but a mistake in the path.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The same for a file with one value of `env`.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What was read, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) read: Read,
    text: Text,
}

/// The text of a policy file. Not shown: it may hold secrets.
#[derive(Clone, PartialEq, Eq)]
struct Text(String);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Why there is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    /// The file cannot be read; the rest of a sentence that begins with the setting.
    #[error("{0}")]
    Unreadable(String),
    /// It can, and is no policy.
    #[error("{0}")]
    Wrong(Report),
}

impl LoadError {
    /// On one line.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Unreadable(why) => why.clone(),
            Self::Wrong(report) => report.short(),
        }
    }
}

/// Whether the files that values of `env` name are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// As a replica does.
    Read,
    /// They are elsewhere: every one of them counts as empty.
    Elsewhere,
}

/// Reads the file and everything that it names.
pub(crate) fn load(path: &str) -> Result<Loaded, LoadError> {
    load_with(path, Secrets::Read)
}

/// Reads the file, and with it what it names or not.
pub(crate) fn load_with(path: &str, secrets: Secrets) -> Result<Loaded, LoadError> {
    let text = read_regular(path, FILE_BYTES_MAX).map_err(LoadError::Unreadable)?;
    let secret = |path: &str| match secrets {
        Secrets::Read => read_secret(path),
        Secrets::Elsewhere => Ok(String::new()),
    };
    let read = parse(&text, &secret).map_err(LoadError::Wrong)?;
    Ok(Loaded { read, text: Text(text) })
}

/// The same where something has changed since, and nothing where nothing has.
pub(crate) fn load_if_changed(path: &str, known: &Loaded) -> Result<Option<Loaded>, LoadError> {
    let text = read_regular(path, FILE_BYTES_MAX).map_err(LoadError::Unreadable)?;
    if text == known.text.0 && known.read.files.is_empty() {
        return Ok(None);
    }
    let read = parse(&text, &read_secret).map_err(LoadError::Wrong)?;
    let loaded = Loaded { read, text: Text(text) };
    Ok((loaded != *known).then_some(loaded))
}

fn read_secret(name: &str) -> Result<String, String> {
    let Some(path) = place(name) else {
        return Err(format!(
            "is the name of a credential, but {CREDENTIALS} is not set; write LoadCredential= into the unit of systemd, or an \
             absolute path"
        ));
    };
    let path = path.to_str().ok_or_else(|| format!("is in {CREDENTIALS}, which is not UTF-8"))?;
    read_regular(path, SECRET_BYTES_MAX)
        .map_err(|why| format!("{why}; mount it where the replicas run, and let their user read it"))
}

/// The folder that systemd makes for the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where a file is that a value of `env` names; none where it has a name alone, and there is no folder for it.
pub(crate) fn place(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name));
    }
    let folder = std::env::var_os(CREDENTIALS).filter(|folder| !folder.is_empty())?;
    Some(Path::new(&folder).join(name))
}
