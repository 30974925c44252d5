//! The policy file.

use std::path::Path;

use super::finding::{Finding, Level};
use super::secrets::secret_file;
use crate::engine::config::EngineKind;
use crate::policy::file::{load, place};
use crate::policy::problem::Problem;
use crate::policy::read::Read;
use crate::settings::Settings;

/// Whether the policy file can be used, and what it allows beyond what games usually need.
pub(crate) fn policy(settings: &Settings) -> Vec<Finding> {
    const ABOUT: &str = "policy";
    let Some(file) = settings.policy.file.as_deref() else {
        if settings.engine.kind == EngineKind::Simulated {
            return Vec::new();
        }
        let found = "no policy file: every image may run, and the memory of games is not limited";
        return vec![Finding::warn(ABOUT, found, "write a policy and set policy-file: docs/policy.md")];
    };
    match load(file) {
        Ok(loaded) => {
            let read = loaded.read;
            let digest = read.policy.digest().unwrap_or_default();
            let warned = |problem: &Problem| {
                let found = problem.to_string().replace("\n    ", " ");
                Finding::warn(ABOUT, found, "change it, unless these games need it")
            };
            let mut findings = vec![Finding::ok(ABOUT, format!("{file} can be used, digest {digest}"))];
            findings.extend(read.warnings.iter().map(warned));
            findings.extend(secrets(file, &read));
            findings
        }
        Err(error) => {
            let remedy = format!("startjobs config policy check {file}");
            vec![Finding::fail(ABOUT, format!("policy-file {file} {}", error.short()), remedy)]
        }
    }
}

/// Files with values of `env` that other users of the machine can read: one finding for each.
fn secrets(file: &str, read: &Read) -> Vec<Finding> {
    let holder = read.holds_values.then(|| secret_file("policy-file", Path::new(file))).flatten();
    let holder = holder.map(|finding| Finding {
        found: format!("the policy holds values of env, and {}", finding.found),
        remedy: format!("{}; or write the secrets as {{ file = ... }} if the others are none", finding.remedy),
        ..finding
    });
    let named = read.files.iter().filter_map(|name| secret_file("env in the policy", &place(name)?));
    holder.into_iter().chain(named).filter(|finding| finding.level == Level::Warn).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn open_files_with_values_of_env_are_warned_of() {
        // No folder above them is closed, as those that the tests make are.
        let folder = tempfile::tempdir().expect("a temporary directory");
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
        set(folder.path(), 0o755);
        let (policy, token) = (folder.path().join("policy.toml"), folder.path().join("token"));
        let found = |env: &str, policy_mode, token_mode| {
            let text = format!("[defaults]\nenv.A = {}\n", env.replace("TOKEN", &token.to_string_lossy()));
            fs::write(&policy, text).expect("the folder is ours");
            fs::write(&token, "x").expect("the folder is ours");
            set(&policy, policy_mode);
            set(&token, token_mode);
            let file = policy.to_string_lossy();
            let loaded = load(&file).expect("a policy");
            secrets(&file, &loaded.read).iter().map(|finding| finding.found.clone()).collect::<Vec<_>>()
        };
        assert_eq!(found("\"x\"", 0o600, 0o644), [""; 0]);
        assert_eq!(found("7", 0o644, 0o644), [""; 0], "a number is no secret");
        assert_eq!(found("{ file = \"TOKEN\" }", 0o644, 0o600), [""; 0]);
        let said = found("\"x\"", 0o644, 0o644).concat();
        assert!(said.contains("holds values of env") && said.contains("mode 0644"), "{said}");
        let said = found("{ file = \"TOKEN\" }", 0o644, 0o644).concat();
        assert!(said.contains("env in the policy") && said.contains("/token,"), "{said}");
    }
}
