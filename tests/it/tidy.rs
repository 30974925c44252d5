//! Rules about the tree, kept by reading it: who may import whom, what every file has, and that the documents name
//! what the code has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use startjobs::contract::error_code::ErrorCode;
use startjobs::faults::Point;

/// Who may know whom: a module at the top of `src`, and the others that it may name; a longer path allows only that
/// item. `cli` stands on top.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("contract", &[]),
    ("tls", &[]),
    ("secret", &[]),
    ("files", &[]),
    ("nearest", &[]),
    ("quantity", &[]),
    // The build script and what it tells.
    ("build", &[]),
    ("version", &[]),
    ("faults", &[]),
    ("slot", &[]),
    ("telemetry", &["tls"]),
    ("redis", &["files", "secret", "tls"]),
    ("stream", &["contract", "redis"]),
    ("engine", &["contract", "faults", "files", "redis", "secret", "tls"]),
    ("policy", &["contract", "engine::sandbox", "files", "nearest", "quantity", "secret"]),
    ("start", &["contract", "engine", "faults", "policy", "redis", "slot", "telemetry"]),
    // Each module owns its `Config`; what a value is parsed into may be named too.
    ("settings", &SETTINGS),
    ("metrics", &["contract", "engine", "stream", "version"]),
    // Knows no kind of job, and no engine.
    (
        "worker",
        &[
            "contract::Fields",
            "contract::dead_letter",
            "contract::error_code",
            "contract::trace",
            "faults",
            "metrics",
            "redis",
            "slot",
            "stream",
            "telemetry",
        ],
    ),
    (
        "starter",
        &[
            "contract",
            "engine",
            "faults",
            "metrics",
            "policy",
            "redis",
            "settings",
            "slot",
            "start",
            "stream",
            "telemetry",
            "worker",
        ],
    ),
    ("observe", &["contract", "metrics", "ops", "redis", "settings", "stream", "version", "worker"]),
    (
        "page",
        &[
            "contract",
            "observe::guard",
            "observe::outlook",
            "files",
            "ops",
            "redis",
            "secret",
            "settings",
            "stream",
            "version",
        ],
    ),
    ("lobby", &["contract", "ops::connect", "redis", "stream"]),
    ("embedded", &["engine::label", "tls"]),
    // Shares nothing with what it audits; its tests hold its reading of the contract against ours.
    (
        "audit",
        &["contract::start_job", "engine::config", "redis", "settings", "start::config", "stream::config", "tls"],
    ),
    (
        "ops",
        &[
            "contract",
            "engine::config",
            "engine::docker::CredentialSources",
            "policy",
            "redis",
            "secret",
            "settings",
            "start::game_id",
            "start::pulls",
            "start::record",
            "stream",
            "tls",
        ],
    ),
    ("bench", &BENCH),
    ("cli", &CLI),
    ("fuzzed", &["audit", "contract", "engine", "page", "policy", "settings", "start", "stream", "telemetry"]),
];

const SETTINGS: [&str; 17] = [
    "engine::Readiness",
    "engine::config",
    "engine::docker::CredentialSources",
    "engine::simulated::config",
    "faults",
    "files",
    "nearest",
    "observe::config",
    "page::config",
    "policy::config",
    "quantity",
    "redis::config",
    "secret",
    "start::config",
    "stream::config",
    "tls",
    "worker::config",
];
const BENCH: [&str; 13] = [
    "contract", "embedded", "engine", "faults", "lobby", "metrics", "redis", "settings", "start", "starter", "stream",
    "tls", "worker",
];
const CLI: [&str; 23] = [
    "audit",
    "bench",
    "contract",
    "embedded",
    "engine",
    "faults",
    "files",
    "lobby",
    "metrics",
    "observe",
    "ops",
    "page",
    "policy",
    "redis",
    "secret",
    "settings",
    "start",
    "starter",
    "stream",
    "telemetry",
    "tls",
    "version",
    "worker",
];

/// Files that may know less than their module: the module they are in, what only they may name, and where they are.
const ONLY_FROM: &[(&str, &str, &str)] = &[
    // A container engine is not Redis's affair, except where its containers live there.
    ("engine", "redis", "src/engine/simulated/"),
    ("engine", "faults", "src/engine/simulated/"),
];

/// Every key of ours, as the documents write it.
const KEYS: &[&str] = &[
    "<jobs>:dead",
    "<jobs>:ledger:<hour>",
    "<jobs>:ledgers",
    "<jobs>:verified",
    "<offset-key>:shadow",
    "<jobs>:attempts",
    "<jobs>:sweep",
    "<jobs>:replicas",
    "<jobs>:paused",
    "<jobs>:history:m",
    "<jobs>:history:h",
    "<jobs>:open",
    "<jobs>:events",
];

const LINES_MAX: usize = 500;
const JUNK_DRAWERS: &[&str] = &["utils", "util", "helpers", "helper", "misc", "common"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files under a folder with one of these extensions, by their path from the root, and their text.
pub fn files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extensions.iter().any(|&one| extension == one)) {
                let text = fs::read_to_string(&path).expect("text");
                let name = path.strip_prefix(root()).expect("under the root").to_string_lossy().into_owned();
                found.push((name, text));
            }
        }
    }
    found.sort();
    found
}

fn code() -> Vec<(String, String)> {
    [files("src", &["rs", "lua"]), files("tests", &["rs"])].concat()
}

/// A file by its path from the root.
pub fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every path after `crate::` outside comments, as far as it is words.
fn crate_paths(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    code.match_indices("crate::")
        .map(|(at, prefix)| {
            let rest = &code[at + prefix.len()..];
            rest[..rest.find(|c| !is_path(c)).unwrap_or(rest.len())].to_owned()
        })
        .collect()
}

/// The module at the top of `src` that a file belongs to.
fn module_of(name: &str) -> &str {
    let below = name.strip_prefix("src/").expect("a source file");
    below.split('/').next().expect("a name").trim_end_matches(".rs")
}

#[test]
fn imports_point_one_way() {
    for (name, text) in files("src", &["rs"]) {
        let module = module_of(&name);
        if module == "lib" || module == "main" {
            continue;
        }
        let (_, may_know) = MAY_KNOW
            .iter()
            .find(|(known, _)| *known == module)
            .unwrap_or_else(|| panic!("{name}: module {module} has a line in the import rule"));
        for path in crate_paths(&text) {
            let top = path.split("::").next().expect("a name");
            let allowed = may_know.iter().any(|&one| path == one || path.starts_with(&format!("{one}::")));
            assert!(top == module || allowed, "{name} names crate::{path}, which {module} must not know");
            for (of, only, from) in ONLY_FROM {
                assert!(
                    module != *of || top != *only || name.starts_with(from),
                    "{name} names crate::{path}, which only {from} may"
                );
            }
        }
    }
}

#[test]
fn entry_ids_and_the_contract_know_nobody() {
    for (name, text) in files("src", &["rs"]) {
        if name == "src/stream/entry_id.rs" || module_of(&name) == "contract" {
            let outside: Vec<_> = crate_paths(&text).into_iter().filter(|path| !path.starts_with("contract")).collect();
            assert!(outside.is_empty(), "{name}: {outside:?}");
        }
    }
}

#[test]
fn only_settle_and_claim_write_dead_letters_and_only_settle_and_marks_write_outcomes() {
    for (name, text) in files("src", &["lua"]) {
        let writes = |key: &str| text.contains(&format!("'XADD', {key},"));
        let script = name.rsplit('/').next().expect("a name");
        // A job that no replica has read is answered where it is cancelled.
        let answers = ["settle.lua", "place_mark.lua"].contains(&script);
        assert!(!writes("RESULTS") || answers, "{name} writes an outcome");
        assert!(!writes("DEAD") || ["settle.lua", "claim.lua"].contains(&script), "{name} writes a dead letter");
    }
}

/// The values of this one follow its arguments, in a number that it is told.
const TAKES_VALUES: &str = "src/bench/rig/floor.lua";

#[test]
fn scripts_name_their_arguments_in_their_first_line_and_nowhere_else() {
    for (name, text) in files("src", &["lua"]) {
        let code: Vec<&str> =
            text.lines().filter(|line| !line.is_empty() && !line.trim_start().starts_with("--")).collect();
        let first = code.first().expect("a script has code");
        let naming = code.iter().filter(|line| line.contains("ARGV")).count();
        assert!(naming <= 1 || name == TAKES_VALUES, "{name} uses ARGV behind its first line");
        if naming > 0 {
            let (names, arguments) = first.split_once(" = unpack(ARGV").unwrap_or_else(|| panic!("{name}: {first}"));
            let is_name = |word: &str| word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            assert!(arguments.ends_with(')'), "{name}: {first}");
            let names = names.strip_prefix("local ").unwrap_or_else(|| panic!("{name}: {first}"));
            assert!(names.split(", ").all(is_name), "{name}: {first}");
        }
        // A verb of a coalesced script names its parameters.
        assert!(!text.contains("call["), "{name} takes words of a call by their numbers");
    }
}

#[test]
fn every_file_says_what_it_is_and_is_not_long() {
    let unfinished = [["TO", "DO"], ["FIX", "ME"]].map(|parts| parts.concat());
    for (name, text) in code() {
        let opening = if Path::new(&name).extension().is_some_and(|one| one == "lua") { "-- " } else { "//! " };
        assert!(text.starts_with(opening), "{name} begins with {opening}");
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines, more than {LINES_MAX}");
        for word in &unfinished {
            assert!(!text.contains(word), "{name} says {word}");
        }
    }
}

#[test]
fn no_module_is_a_junk_drawer() {
    for (name, _) in code() {
        let path = Path::new(&name).with_extension("");
        let junk = path.iter().find(|part| JUNK_DRAWERS.iter().any(|&one| *part == one));
        assert_eq!(junk, None, "{name} is named after nothing");
    }
}

#[test]
fn the_documents_name_what_the_code_has() {
    let architecture = document("docs/architecture.md");
    for key in KEYS {
        assert!(architecture.contains(&format!("`{key}`")), "docs/architecture.md names the key {key}");
    }
    for (name, _) in files("src", &["rs"]) {
        let module = module_of(&name);
        assert!(architecture.contains(&format!("`{module}")), "docs/architecture.md names the module {module}");
    }
    let guarantees = document("docs/delivery-guarantees.md");
    for code in ErrorCode::ALL {
        assert!(guarantees.contains(&format!("`{code}`")), "docs/delivery-guarantees.md names {code}");
    }
    for point in Point::ALL {
        assert!(guarantees.contains(&format!("`{point}`")), "docs/delivery-guarantees.md names {point}");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut documents = files("docs", &["md"]);
    if let Ok(text) = fs::read_to_string(root().join("README.md")) {
        documents.push(("README.md".to_owned(), text));
    }
    assert!(documents.len() > 10, "the documents are found");
    for (name, text) in documents {
        for target in links(&text) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = Path::new(&name).parent().expect("a folder");
            let path: PathBuf = if file.is_empty() { root().join(&name) } else { root().join(folder).join(file) };
            assert!(path.exists(), "{name} links to {target}");
            if !anchor.is_empty() && path.extension().is_some_and(|extension| extension == "md") {
                let linked = fs::read_to_string(&path).expect("text");
                assert!(anchors(&linked).contains(anchor), "{name} links to {target}, and there is no such heading");
            }
        }
    }
}

/// The targets of a document's links, those to other sites left out.
fn links(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for (at, opening) in line.match_indices("](") {
            let rest = &line[at + opening.len()..];
            let target = &rest[..rest.find(')').unwrap_or(rest.len())];
            if !target.contains("://") && !target.starts_with("mailto:") {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// The anchors of a document's headings, as the common renderers make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(slug).collect()
}
