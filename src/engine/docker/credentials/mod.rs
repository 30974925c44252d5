//! Who this process is to a registry: from Docker's own configuration file, or from a file for each registry.
//!
//! Files are read at each pull, so that a renewed credential is used without a restart. A credential is only ever given to
//! the registry that it is for.

// who we are
mod login;
// a credential in one text
mod entry;
// Docker's configuration file
mod docker_config;
// programs that keep credentials
mod program;
// what is wrong with all of it
mod complaints;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

pub(super) use self::login::{CredentialError, Login};

use self::docker_config::ConfigFile;
use self::login::FILE_BYTES_MAX;
use crate::files::read_regular;

/// Where credentials are looked for, the folder first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialSources {
    /// `docker-config`: a file like Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// `registry-credentials-dir`: a folder with a file for each registry.
    pub folder: Option<PathBuf>,
}

/// How long it may take to read the files.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// What is in the files for a registry.
enum Found {
    Login(Login),
    /// Docker's configuration, which may name programs.
    Config(PathBuf, ConfigFile),
    Nothing,
}

impl CredentialSources {
    /// Who we are to this registry; none where nothing says so.
    pub(super) async fn login(&self, registry: &str, path: &str) -> Result<Option<Login>, CredentialError> {
        if *self == Self::default() {
            return Ok(None);
        }
        let (sources, of) = (self.clone(), registry.to_owned());
        // A file system that hangs must not hold up everything else.
        let looked = timeout(READ_WITHIN, tokio::task::spawn_blocking(move || sources.look(&of))).await;
        let late = || CredentialError(format!("the files with credentials cannot be read within {READ_WITHIN:?}"));
        match looked.map_err(|_| late())?.unwrap_or_else(|_| Err(late()))? {
            Found::Login(login) => Ok(Some(login)),
            Found::Config(file, config) => docker_config::login(&file, config, registry, path).await,
            Found::Nothing => Ok(None),
        }
    }

    /// Reads what there is in files.
    fn look(&self, registry: &str) -> Result<Found, CredentialError> {
        if let Some(login) = self.in_folder(registry)? {
            return Ok(Found::Login(login));
        }
        let Some(file) = self.docker_config_file() else { return Ok(Found::Nothing) };
        docker_config::read(&file).map(|config| Found::Config(file, config))
    }

    fn docker_config_file(&self) -> Option<PathBuf> {
        let config = self.docker_config.as_ref()?;
        // Docker names the folder that the file is in.
        Some(if config.is_dir() { config.join("config.json") } else { config.clone() })
    }

    fn in_folder(&self, registry: &str) -> Result<Option<Login>, CredentialError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        // Not every place for secrets allows a colon in a name; no registry has an underscore.
        for name in [registry.to_owned(), registry.replace(':', "_")] {
            let file = folder.join(name);
            if file.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                continue;
            }
            return in_file(&file).map(Some);
        }
        Ok(None)
    }
}

fn in_file(file: &Path) -> Result<Login, CredentialError> {
    let shown = file.display().to_string();
    let about = |why: &str| CredentialError(format!("the credential file {shown} {why}"));
    let text = read_regular(&shown, FILE_BYTES_MAX).map_err(|why| about(&why))?;
    entry::of_file(&text).map_err(about)
}
