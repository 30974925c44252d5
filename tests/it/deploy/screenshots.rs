//! The pictures of the page: those in docs/screenshots, and the script that makes them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::tools::{debian, left_out, passes};
use super::{STARTJOBS, root, temporary, text_of};

/// Each picture, with its width and height in pixels.
const PICTURES: [(&str, (u32, u32)); 3] =
    [("overview.png", (1180, 860)), ("job-dark.png", (1000, 700)), ("overview-narrow.png", (360, 700))];
/// A reader waits for them, and the repository keeps every version.
const BYTES_MAX: usize = 60 * 1024;

/// The pictures of a folder are those that there are to be, and small.
fn assert_pictures(folder: &Path) {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    let mut expected = PICTURES.map(|(name, _)| name);
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (name, size) in PICTURES {
        let picture = fs::read(folder.join(name)).expect("a file");
        assert!(picture.len() <= BYTES_MAX, "{name} has {} bytes", picture.len());
        assert!(picture.len() > 4_000, "{name} shows nothing: {} bytes", picture.len());
        assert_eq!((&picture[..8], &picture[12..16]), (&b"\x89PNG\r\n\x1a\n"[..], &b"IHDR"[..]), "{name} is no PNG");
        let number = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().expect("four bytes"));
        assert_eq!((number(16), number(20)), size, "{name}");
    }
}

#[test]
fn the_pictures_of_the_page_are_there_small_and_shown() {
    assert_pictures(&root().join("docs/screenshots"));
    let index = text_of("docs/index.md");
    for (name, _) in PICTURES {
        assert!(index.contains(&format!("screenshots/{name}")), "docs/index.md does not show {name}");
    }
}

#[test]
fn the_script_makes_the_pictures_from_a_fleet_of_its_own() {
    let programs = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm"), ("pngquant", "pngquant")];
    if programs.into_iter().any(|(program, package)| debian(program, package).is_none()) {
        return;
    }
    let made = Command::new(root().join("deploy/ci/browser.sh")).output().expect("the script runs");
    if !made.status.success() {
        left_out(&format!("deploy/ci/browser.sh: {}", String::from_utf8_lossy(&made.stderr)));
        return;
    }
    let folder = temporary();
    let mut script = Command::new(root().join("deploy/screenshots.sh"));
    passes(script.args(["--binary", STARTJOBS, "--out"]).arg(folder.path()));
    assert_pictures(folder.path());
}
