//! The build script, built and run as cargo does: in a repository, in a tarball, and where a packager says the revision.

use std::fs;
use std::path::Path;
use std::process::Command;

use startjobs::version::{REVISION, RUSTC, VERSION};

use super::tools::passes;
use super::{STARTJOBS, root, shown, temporary};

/// What it tells cargo of a tree.
fn told(script: &Path, tree: &Path, given: Option<&str>) -> String {
    let mut command = Command::new(script);
    command.current_dir(tree).env("CARGO_MANIFEST_DIR", tree).env("RUSTC", "rustc").env_remove("STARTJOBS_REVISION");
    passes(command.envs(given.map(|revision| ("STARTJOBS_REVISION", revision))))
}

fn git(tree: &Path, words: &[&str]) -> String {
    let identity = ["-c", "user.name=n", "-c", "user.email=n@example.invalid"];
    let output = Command::new("git").current_dir(tree).args(identity).args(words).output().expect("git is installed");
    assert!(output.status.success(), "git {words:?}: {}", shown(&output));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[test]
fn the_revision_is_the_repositorys_or_the_packagers_or_unknown() {
    let folder = temporary();
    let (script, tree) = (folder.path().join("script"), folder.path().join("outer/tree"));
    passes(Command::new("rustc").args(["--edition", "2024", "-o"]).arg(&script).arg(root().join("src/build.rs")));
    fs::create_dir_all(&tree).expect("the folder is ours");

    // A tarball, unpacked within the repository of something else.
    let outer = folder.path().join("outer");
    git(&outer, &["init", "--quiet"]);
    git(&outer, &["commit", "--quiet", "--allow-empty", "--message", "another project"]);
    let said = told(&script, &tree, None);
    assert!(said.contains("cargo:rustc-env=STARTJOBS_BUILD_REVISION=unknown\n"), "{said}");
    assert!(!said.contains(".git"), "{said}");
    let said = told(&script, &tree, Some("v0.1.0-3"));
    assert!(said.contains("cargo:rustc-env=STARTJOBS_BUILD_REVISION=v0.1.0-3\n"), "{said}");

    git(&tree, &["init", "--quiet"]);
    assert!(told(&script, &tree, None).contains("REVISION=unknown\n"), "nothing is committed");
    git(&tree, &["commit", "--quiet", "--allow-empty", "--message", "ours"]);
    let said = told(&script, &tree, None);
    let commit = git(&tree, &["rev-parse", "HEAD"]);
    assert!(said.contains(&format!("cargo:rustc-env=STARTJOBS_BUILD_REVISION={commit}\n")), "{said}");
    assert!(said.contains("cargo:rerun-if-changed=.git/logs/HEAD\n"), "the next commit is noticed: {said}");
    let named = said.lines().filter(|line| line.starts_with("cargo:rustc-env="));
    assert!(named.clone().count() == 2 && named.clone().all(|line| !line.contains('/')), "no path gets in: {said}");
}

#[test]
fn the_program_says_which_build_it_is() {
    let said = |flag: &str| passes(Command::new(STARTJOBS).arg(flag));
    assert!(said("-V").contains(&format!("startjobs {VERSION}\n")));
    let long = said("--version");
    for line in [format!("startjobs {VERSION}"), format!("revision  {REVISION}"), format!("rustc     {RUSTC}")] {
        assert!(long.lines().any(|said| said == line), "{line} in {long}");
    }
    assert!(REVISION == "unknown" || REVISION.len() >= 7, "{REVISION}");
    assert!(RUSTC.starts_with("1."), "{RUSTC}");
}

#[test]
fn a_long_step_says_that_it_still_runs_and_passes_on_how_it_ended() {
    let words = ". deploy/ci/prepare.sh; patiently 'a build' sh -c 'sleep 2; exit 3'; echo ended with $?";
    let mut command = Command::new("bash");
    command.current_dir(root()).env("STILL_RUNNING_EVERY", "0.2").args(["-c", words]);
    let output = command.output().expect("bash is installed");
    let (said, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(said, "ended with 3\n", "{talk}");
    assert!(talk.contains("== a build: still running after "), "{talk}");
}
