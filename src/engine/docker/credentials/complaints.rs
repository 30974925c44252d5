//! What can be said of the sources of credentials before a pull needs them.

use std::fs;

use super::{CredentialSources, docker_config, in_file};

/// Files that are looked at.
const FILES_MAX: usize = 100;

impl CredentialSources {
    /// What is wrong with them, one sentence each. They name the file, and quote nothing that may be secret.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Some(folder) = &self.folder {
            match fs::read_dir(folder) {
                Ok(files) => {
                    let files = files.take(FILES_MAX).filter_map(|entry| Some(entry.ok()?.path()));
                    // Kubernetes keeps folders and links of its own beside the files.
                    let failed = files.filter(|path| path.is_file()).filter_map(|path| in_file(&path).err());
                    complaints.extend(failed.map(|error| error.to_string()));
                }
                Err(error) => {
                    let shown = folder.display();
                    complaints.push(format!("registry-credentials-dir {shown} cannot be read: {error}"));
                }
            }
        }
        if let Some(file) = self.docker_config_file() {
            complaints.extend(docker_config::complaints(&file));
        }
        complaints.sort();
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_that_cannot_be_used_is_named_and_not_quoted() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("the folder is ours");
        put("fine.example", "ann:sesame");
        put("bad.example", "sesame");
        fs::create_dir(folder.path().join("..data")).expect("the folder is ours");
        let sources = CredentialSources { docker_config: None, folder: Some(folder.path().to_owned()) };
        let found = sources.complaints();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("/bad.example must hold `user:password`") && !found[0].contains("sesame"),
            "{found:?}"
        );

        let config = tempfile::tempdir().expect("a temporary directory");
        let json =
            r#"{"auths":{"a.example":{"auth":"sesame!"},"b.example":{}},"credHelpers":{"c.example":"of-no-machine"}}"#;
        fs::write(config.path().join("config.json"), json).expect("the folder is ours");
        let sources = CredentialSources { docker_config: Some(config.path().to_owned()), folder: None };
        let found = sources.complaints();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("config.json has an entry for a.example that"), "{found:?}");
        assert!(found[1].contains("docker-credential-of-no-machine, which is not on the search path"), "{found:?}");
        assert!(!found.concat().contains("sesame"), "{found:?}");
        assert_eq!(CredentialSources::default().complaints(), Vec::<String>::new());
    }
}
