//! Docker's configuration file, as `docker login` and Kubernetes write it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::entry::Entry;
use super::login::{CredentialError, FILE_BYTES_MAX, HUB, HUB_ADDRESS, Login, exactness};
use super::program;
use crate::files::read_regular;

/// What is looked at of the file. Not `Debug`: it is made of secrets.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ConfigFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

/// Who the file says that we are to this registry, for this image.
pub(super) async fn login(
    file: &Path,
    config: ConfigFile,
    registry: &str,
    path: &str,
) -> Result<Option<Login>, CredentialError> {
    let about = |why: &str| about(file, why);
    if let Some(helper) = config.helper(registry, path) {
        let server = if registry == HUB { HUB_ADDRESS } else { registry };
        if let Some(login) = program::ask(helper, server).await.map_err(|why| about(&format!("names {why}")))? {
            return Ok(Some(login));
        }
    }
    let entry = best(&config.auths, registry, path).cloned().unwrap_or_default();
    entry.login().map_err(|why| about(&format!("has an entry for {registry} that {why}")))
}

/// What is wrong with the file, its entries and its helpers, whichever registry they are for.
pub(super) fn complaints(file: &Path) -> Vec<String> {
    let config = match read(file) {
        Ok(config) => config,
        Err(error) => return vec![error.to_string()],
    };
    let of_entry = |(key, entry): (&String, &Entry)| {
        let why = entry.clone().login().err()?;
        Some(about(file, &format!("has an entry for {key} that {why}")).to_string())
    };
    let store = Some(&config.creds_store).filter(|name| !name.is_empty());
    let helpers: BTreeSet<&String> = config.cred_helpers.values().chain(store).collect();
    let of_helper = |name: &String| Some(about(file, &format!("names {}", program::complaint(name)?)).to_string());
    config.auths.iter().filter_map(of_entry).chain(helpers.into_iter().filter_map(of_helper)).collect()
}

/// Reads it.
pub(super) fn read(file: &Path) -> Result<ConfigFile, CredentialError> {
    let text = read_regular(&file.display().to_string(), FILE_BYTES_MAX).map_err(|why| about(file, &why))?;
    serde_json::from_str(&text)
        .map_err(|error| about(file, &format!("is not JSON of the right form, in line {}", error.line())))
}

fn about(file: &Path, why: &str) -> CredentialError {
    CredentialError(format!("docker-config {} {why}", file.display()))
}

impl ConfigFile {
    fn helper(&self, registry: &str, path: &str) -> Option<&str> {
        let store = Some(self.creds_store.as_str()).filter(|name| !name.is_empty());
        best(&self.cred_helpers, registry, path).map(String::as_str).or(store)
    }
}

/// The value of the key that means this registry most exactly.
fn best<'a, T>(values: &'a BTreeMap<String, T>, registry: &str, path: &str) -> Option<&'a T> {
    let fitting = values.iter().filter_map(|(key, value)| Some((exactness(key, registry, path)?, value)));
    fitting.max_by_key(|(exactness, _)| *exactness).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    async fn look(json: &str, registry: &str, path: &str) -> Result<Option<Login>, CredentialError> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("config.json");
        std::fs::write(&file, json).expect("the folder is ours");
        login(&file, read(&file)?, registry, path).await
    }

    #[tokio::test]
    async fn the_entry_of_the_registry_is_found() {
        let json = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOmE="},"r.example":{"username":"ann","password":"b"},
            "r.example/team":{"identitytoken":"t"},"kept.example":{}},"HttpHeaders":{"x":"y"}}"#;
        let password = |user: &str, password: &str| {
            Some(Login::Password { user: user.to_owned(), password: Secret::new(password) })
        };
        for (registry, path, expected) in [
            ("docker.io", "library/redis", password("hub", "a")),
            ("r.example", "a", password("ann", "b")),
            ("r.example", "team/a", Some(Login::Identity(Secret::new("t")))),
            ("kept.example", "a", None),
            ("other.example", "a", None),
        ] {
            assert_eq!(look(json, registry, path).await, Ok(expected), "{registry}/{path}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_said_without_being_quoted() {
        for json in
            [r#"{"auths":{"r.example":{"auth":"sesame!"}}}"#, "{\"auths\": sesame}", r#"{"credsStore":"../sesame"}"#]
        {
            let error = look(json, "r.example", "a").await.expect_err("it cannot be read").to_string();
            assert!(error.starts_with("docker-config /") && !error.contains("auth\":"), "{error}");
            assert!(!error.contains("sesame!"), "{error}");
        }
        let missing = read(Path::new("/no/such/file")).map(drop).expect_err("it is not there").to_string();
        assert!(missing.contains("/no/such/file cannot be read"), "{missing}");
        // A pipe would be waited for.
        let folder = tempfile::tempdir().expect("a temporary directory");
        let pipe = folder.path().join("config.json");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is everywhere");
        assert!(made.success());
        let pipe = read(&pipe).map(drop).expect_err("it is no file").to_string();
        assert!(pipe.ends_with("is not a regular file"), "{pipe}");
    }
}
