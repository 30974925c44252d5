//! The build script: which source and which compiler a build is of. Says nothing about where or when it was made, so that
//! the same source gives the same program.
//!
//! `STARTJOBS_REVISION` says the revision where there is no repository, as in a tarball of a packager; without both it is
//! `unknown`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/build.rs");
    println!("cargo:rerun-if-env-changed=STARTJOBS_REVISION");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let revision = given().or_else(|| of_repository(&root)).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=STARTJOBS_BUILD_REVISION={revision}");
    println!("cargo:rustc-env=STARTJOBS_BUILD_RUSTC={}", compiler().unwrap_or_else(|| "unknown".to_owned()));
}

fn given() -> Option<String> {
    env::var("STARTJOBS_REVISION").ok().filter(|revision| is_word(revision))
}

/// The commit that is checked out. A repository further up is another project's.
fn of_repository(root: &Path) -> Option<String> {
    if !root.join(".git").exists() {
        return None;
    }
    // Every commit and every checkout appends to the second; a path that is not there would mean a build each time.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(root, &["rev-parse", "--git-path", name]).filter(|path| root.join(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(root, &["rev-parse", "--verify", "HEAD"])
}

/// The building user need not own the tree; these commands run nothing of its configuration.
fn git(root: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(["-c", "safe.directory=*"]).args(words).current_dir(root).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The version alone: `rustc 1.89.0 (29483883e 2025-08-04)`.
fn compiler() -> Option<String> {
    let output = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.split(' ').nth(1)?.trim().to_owned();
    is_word(&version).then_some(version)
}

/// Fit for a label and for a line.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-+".contains(letter))
}
