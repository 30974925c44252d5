//! Images made of programs of this machine.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A tar archive of the programs, each under its name there, and of the shared libraries they need where the loader looks
/// for them.
pub fn archive(programs: &[(&str, &Path)]) -> Vec<u8> {
    let stage = tempfile::tempdir().expect("a temporary directory");
    for (name, program) in programs {
        add(stage.path(), name, program);
    }
    let tar = Command::new("tar").arg("-C").arg(stage.path()).args(["-c", "."]).output().expect("tar is installed");
    assert!(tar.status.success(), "tar: {}", String::from_utf8_lossy(&tar.stderr));
    tar.stdout
}

/// Puts the program there under its name in an image, with the libraries that it needs.
pub fn add(stage: &Path, name: &str, program: &Path) {
    let copy = stage.join(name);
    fs::create_dir_all(copy.parent().expect("it is a file below the root")).expect("the stage is ours");
    // Debug symbols are most of a test build, and time to import.
    let stripped = Command::new("strip").arg("-o").arg(&copy).arg(program).output();
    if !stripped.is_ok_and(|output| output.status.success()) {
        fs::copy(program, &copy).expect("the program can be read");
    }
    // Fails for a static program, and then lists nothing.
    let listed = Command::new("ldd").arg(program).output().expect("ldd comes with the C library");
    let listed = String::from_utf8_lossy(&listed.stdout);
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
        let relative = library.strip_prefix("/").expect("it begins with a slash");
        let copy = stage.join(relative);
        fs::create_dir_all(copy.parent().expect("it is a file below the root")).expect("the stage is ours");
        fs::copy(library, copy).expect("the library can be read");
    }
}
