//! Small programs for images, compiled by the C compiler that links Rust.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// The compiled program, in a directory that goes when the guard does.
pub fn compile(name: &str, source: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (file, program) = (dir.path().join(format!("{name}.c")), dir.path().join(name));
    std::fs::write(&file, source).expect("the directory is ours");
    let compiled = Command::new("cc").arg(&file).arg("-o").arg(&program).output().expect("a C compiler links Rust");
    assert!(compiled.status.success(), "cc: {}", String::from_utf8_lossy(&compiled.stderr));
    (dir, program)
}
