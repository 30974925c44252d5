//! Rules about which file of `src` may name what.
//!
//! A file needs another when it names something that the other defines. Re-exports are followed to the file that defines
//! the item; `mod x;` and a `pub use` whose name the file itself does not use are no need. So a `mod.rs` that only
//! declares and re-exports may be named by its children, and one that uses a child may not be used by it. A method counts
//! where it is defined: a type whose `impl` is spread over files that call each other's methods is a circle too.

// one file, as far as the rules need it
mod source;
// all files: who defines what, and who needs whom
mod tree;

use std::fmt::Write as _;

use source::Source;
use tree::{Needs, Tree, circles};

use crate::tidy::files;

/// The files here decide without I/O: time and randomness are handed to them.
const STAGES: &str = "src/worker/stages/";

#[test]
fn no_files_need_each_other() {
    let needs = Tree::new(files("src", &["rs"])).needs();
    assert!(needs.len() > 100, "the files and what they need are found");
    let mut told = String::new();
    for circle in circles(&needs) {
        told += &told_of(&needs, &circle.into_iter().collect::<Vec<_>>());
    }
    assert!(told.is_empty(), "files that need each other:\n{told}");
}

/// A circle, one line a need.
fn told_of(needs: &Needs, circle: &[String]) -> String {
    let mut text = format!("{} files\n", circle.len());
    for file in circle {
        for (other, why) in needs.get(file).into_iter().flatten().filter(|(other, _)| circle.contains(other)) {
            // Writing to a String cannot fail.
            _ = writeln!(text, "  {file} needs {other}: {why}");
        }
    }
    text
}

#[test]
fn only_redis_names_the_client() {
    let files = files("src", &["rs"]);
    let names_it = |text: &str| {
        let source = Source::read(text);
        source.words.contains("fred") || source.uses.iter().any(|one| one.path.words[0] == "fred")
    };
    assert!(files.iter().any(|(name, text)| name.starts_with("src/redis/") && names_it(text)), "the client is found");
    for (name, text) in files {
        let may = name.starts_with("src/redis/");
        assert!(may || !names_it(&text), "{name} names fred, which only src/redis/ may");
    }
}

#[test]
fn stages_are_handed_time_and_randomness() {
    let mut seen = 0;
    for (name, text) in files("src", &["rs"]) {
        if name.starts_with(STAGES) && !name.ends_with("/tests.rs") && !name.contains("/tests/") {
            seen += 1;
            let found = not_handed_in(&text);
            assert!(found.is_empty(), "{name} names {found:?}; a stage is handed what it needs of time and randomness");
        }
    }
    let worker = Source::read(&crate::tidy::document("src/worker/mod.rs"));
    assert_eq!(worker.children.contains("stages"), seen > 0, "the stages are where this test looks for them");
}

/// What a file takes of clock, randomness and I/O outside of its tests.
fn not_handed_in(text: &str) -> Vec<String> {
    let source = Source::read(text);
    let words = ["fastrand", "elapsed", "await", "SystemTime"];
    let mut found: Vec<String> =
        words.iter().filter(|&&word| source.words_without_tests.contains(word)).map(|&word| word.to_owned()).collect();
    let clock = |words: &[String]| words.ends_with(&["Instant".to_owned(), "now".to_owned()]);
    found.extend(
        source.paths.iter().filter(|path| !path.is_of_tests && clock(&path.words)).map(|path| path.words.join("::")),
    );
    found
}

#[test]
fn what_is_not_handed_in_is_found() {
    for taken in [
        "fn f() { let now = Instant::now(); }",
        "fn f() { let now = tokio::time::Instant::now(); }",
        "fn f() { let now = SystemTime::now(); }",
        "fn f() { fastrand::f64(); }",
        "use fastrand::f64; fn f() { fastrand::u8(..); }",
        "fn f(since: Instant) { since.elapsed(); }",
        "async fn f() { g().await; }",
    ] {
        assert_eq!(not_handed_in(taken).len(), 1, "{taken}");
    }
    for handed_in in [
        "fn f(now: Instant) -> Instant { now + SECOND }",
        "// Instant::now()\nconst TEXT: &str = \"Instant::now() fastrand\";",
        "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn f() { Instant::now(); fastrand::f64(); }\n}",
        "#[cfg(test)]\npub(crate) mod tests {\n    fn f() { Instant::now(); }\n}",
    ] {
        assert_eq!(not_handed_in(handed_in), [""; 0], "{handed_in}");
    }
}

#[track_caller]
fn found(files: &[(&str, &str)]) -> usize {
    let files = files.iter().map(|&(name, text)| (format!("src/{name}"), text.to_owned()));
    circles(&Tree::new(files).needs()).iter().map(std::collections::BTreeSet::len).sum()
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let lib = ("lib.rs", "pub mod a; pub mod b;");
    let (parts, x) = ("mod x; mod y;", "pub struct X;");
    // Two files, by each form of path.
    assert_eq!(
        found(&[lib, ("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", "use super::a::A; pub struct B;")]),
        2
    );
    assert_eq!(found(&[lib, ("a.rs", "use crate::{b::{self, B as C}};"), ("b.rs", "fn f() { crate::a::f() }")]), 2);
    assert_eq!(found(&[lib, ("a.rs", "fn f(b: super::b::B) {}"), ("b.rs", "use crate::a; fn f() { a::f() }")]), 2);
    // A parent uses its child, and the child its parent.
    let child = ("a/x.rs", "use super::A; pub fn f() {}");
    assert_eq!(found(&[lib, ("a/mod.rs", "mod x; pub struct A; fn g() { x::f() }"), child]), 2);
    assert_eq!(found(&[lib, ("a/mod.rs", "mod x; use x::f; pub struct A; fn g() { f() }"), child]), 2);
    assert_eq!(found(&[lib, ("a/mod.rs", "mod x; pub use x::f; pub struct A; fn g() { f() }"), child]), 2);
    // Through a re-export, and through three files.
    let user = ("b.rs", "use crate::a::X; pub struct B;");
    assert_eq!(
        found(&[lib, ("a/mod.rs", "mod x; pub use self::x::X;"), ("a/x.rs", "use crate::b::B; pub struct X;"), user]),
        2
    );
    assert_eq!(
        found(&[
            lib,
            ("a/mod.rs", parts),
            ("a/x.rs", "use super::y::Y;"),
            ("a/y.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::x;")
        ]),
        3
    );
    // The methods of one type, spread over two files.
    let (x_calls, y_calls) =
        ("pub struct X; impl X { fn f(&self) { self.g() } }", "use super::x::X; impl X { pub fn g(&self) {} }");
    assert_eq!(found(&[("a/mod.rs", parts), ("a/x.rs", x_calls), ("a/y.rs", y_calls)]), 2);
    assert_eq!(found(&[("a/mod.rs", parts), ("a/x.rs", x), ("a/y.rs", y_calls)]), 0);
}

#[test]
fn what_is_no_circle_is_none() {
    let lib = ("lib.rs", "pub mod a;");
    // A parent that only declares and re-exports.
    let parent = ("a/mod.rs", "mod x; mod y; pub use x::X; pub use y::Y;");
    assert_eq!(found(&[lib, parent, ("a/x.rs", "pub struct X;"), ("a/y.rs", "use super::X; pub struct Y;")]), 0);
    // One that the children use, and that uses none of them.
    assert_eq!(found(&[lib, ("a/mod.rs", "mod x; pub struct A;"), ("a/x.rs", "use super::A;")]), 0);
    // Comments, texts, and tests inside of a file.
    let text = "// use crate::a::y::Y;\nconst T: &str = \"crate::a::y::Y\"; pub struct X<'a>(&'a u8); mod tests { use super::*; }";
    assert_eq!(found(&[lib, parent, ("a/x.rs", text), ("a/y.rs", "use super::x::X; pub struct Y;")]), 0);
}
