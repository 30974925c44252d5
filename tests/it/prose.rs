//! The words of documents, help, errors and log lines: those that make a text hard to read for a stranger are refused.

use std::fs;
use std::path::Path;

use startjobs::cli;

/// Words and phrases that no text for people has, in lower case. Each is looked for as whole words.
const FORBIDDEN: &[&str] = &[
    // Say which replica, operator or program it is.
    "nobody",
    "somebody",
    "whoever",
    "everybody",
    "anybody",
    // Say what is where, or what refers to what.
    "stands",
    "stood for",
    "stands for",
    // Riddles, aphorisms and inversions.
    "by lot",
    "draws up",
    "draws up the account",
    "it is said",
    "at a moment when",
    "asks for what it needs",
    "by the times",
    "held against",
    "in the same way as those commands",
    "is it well",
    "what redis loses is lost",
    "who may know whom",
    // Words of older log lines.
    "condition began",
    "condition ended",
    "condition goes on",
    "endangers data",
    "fallen out of the group",
    "found out nothing",
    "goodbye",
    "no record stands",
    "no verdict about",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder, by its path from the root, and its text.
fn files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")) {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&name));
        } else {
            // Pictures are no text, and have no words to look for.
            found.push((name, String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned()));
        }
    }
    found.sort();
    found
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// The forbidden phrases that a text has, whatever its line breaks and capitals.
fn forbidden(text: &str) -> Vec<&'static str> {
    let words = |text: &str| {
        let plain: String = text
            .chars()
            .map(|c| if c.is_alphanumeric() || "'-_".contains(c) { c.to_ascii_lowercase() } else { ' ' })
            .collect();
        format!(" {} ", plain.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let text = words(text);
    FORBIDDEN.iter().copied().filter(|phrase| text.contains(&words(phrase))).collect()
}

/// A document without its code: fenced blocks and code spans.
fn without_code(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    // Every second part is between two backquotes; a paragraph ends every span.
    let paragraphs = prose.split("\n\n").map(|paragraph| paragraph.split('`').step_by(2).collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// What a source file holds: the texts of its string literals, and its comments.
#[derive(Debug, Default, PartialEq, Eq)]
struct Source {
    literals: Vec<String>,
    comments: Vec<String>,
}

impl Source {
    /// Reads Rust up to its unit tests.
    fn read(text: &str) -> Self {
        let text = text.split_once("#[cfg(test)]\nmod tests").map_or(text, |(before, _)| before);
        let mut source = Self::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = if rest.starts_with("//") {
                let (comment, after) = rest.split_once('\n').unwrap_or((rest, ""));
                source.comments.push(comment.to_owned());
                after
            } else if let Some((literal, after)) = raw_literal(rest) {
                source.literals.push(literal.to_owned());
                after
            } else if c == '"' {
                let (literal, after) = literal(&rest[1..]);
                source.literals.push(literal);
                after
            } else if let Some(after) = character(rest) {
                after
            } else {
                &rest[c.len_utf8()..]
            };
        }
        source
    }
}

/// `r"..."` and `r#"..."#` at the beginning, and what follows.
fn raw_literal(text: &str) -> Option<(&str, &str)> {
    let hashes = text.strip_prefix('r')?;
    let inside = hashes.trim_start_matches('#');
    let count = hashes.len() - inside.len();
    inside.strip_prefix('"')?.split_once(&format!("\"{}", "#".repeat(count)))
}

/// A character literal at the beginning, and what follows; a lifetime is none.
fn character(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('\'')?;
    let Some(escaped) = inside.strip_prefix('\\') else {
        return inside[inside.chars().next()?.len_utf8()..].strip_prefix('\'');
    };
    // The escaped character may itself be a quote.
    let after = &escaped[escaped.chars().next()?.len_utf8()..];
    after.split_once('\'').map(|(_, after)| after)
}

/// A string literal after its first quote, its line breaks joined, and what follows.
fn literal(text: &str) -> (String, &str) {
    let mut found = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (found, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n' | '\n')) | None => found.push(' '),
                Some((_, other)) => found.push(other),
            },
            other => found.push(other),
        }
    }
    (found, "")
}

/// What is found in all texts: where, which words, and the text.
#[derive(Debug, Default)]
struct Found(Vec<String>);

impl Found {
    fn look(&mut self, name: &str, text: &str) {
        let words = forbidden(text);
        if !words.is_empty() {
            self.0.push(format!("{name}: {words:?}: {}", text.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }

    fn is_nothing(&self) {
        assert!(self.0.is_empty(), "plainer words, please:\n{}", self.0.join("\n"));
    }
}

#[test]
fn no_document_has_a_forbidden_word() {
    let mut documents: Vec<_> = files("docs").into_iter().filter(|(name, _)| extension(name) == "md").collect();
    documents.push(("README.md".to_owned(), fs::read_to_string(root().join("README.md")).expect("the README")));
    assert!(documents.len() > 20, "the documents are found");
    let mut found = Found::default();
    for (name, text) in documents {
        for paragraph in without_code(&text).split("\n\n") {
            found.look(&name, paragraph);
        }
    }
    found.is_nothing();
}

#[test]
fn the_readme_has_two_screens_and_leads_to_the_index() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    assert!(readme.lines().count() <= 120, "it has grown: {} lines", readme.lines().count());
    assert!(readme.contains("(docs/index.md"), "README.md does not link docs/index.md");
}

#[test]
fn the_index_leads_everywhere() {
    let index = fs::read_to_string(root().join("docs/index.md")).expect("the index");
    let of_monitoring = files("deploy/monitoring").into_iter().filter(|(name, _)| !name.contains("_test"));
    let beside = |name: &str| name.strip_prefix("docs/").map_or_else(|| format!("../{name}"), str::to_owned);
    for (name, _) in files("docs").into_iter().chain(of_monitoring) {
        let is_one_of_many = name.starts_with("docs/decisions/") && name != "docs/decisions/README.md";
        let link = beside(&name);
        let is_linked = [format!("]({link})"), format!("src=\"{link}\"")].iter().any(|link| index.contains(link));
        assert!(is_one_of_many || name == "docs/index.md" || is_linked, "docs/index.md does not link {name}");
    }
}

#[test]
fn no_help_has_a_forbidden_word() {
    let reference = cli::man::markdown(cli::command());
    assert!(reference.contains("## startjobs worker"), "it is the reference");
    let mut found = Found::default();
    for paragraph in reference.split("\n\n") {
        found.look("help", paragraph);
    }
    found.is_nothing();
}

#[test]
fn no_deployment_file_has_a_forbidden_word() {
    let mut found = Found::default();
    let of_docs = files("docs").into_iter().filter(|(name, _)| extension(name) == "yaml");
    for (name, text) in files("deploy").into_iter().chain(of_docs) {
        for line in text.lines() {
            found.look(&name, line);
        }
    }
    found.is_nothing();
}

#[test]
fn no_text_of_the_program_has_a_forbidden_word() {
    let (mut found, mut count) = (Found::default(), 0);
    for (name, text) in files("src").into_iter().filter(|(name, _)| extension(name) == "rs") {
        let source = Source::read(&text);
        for text in source.literals.iter().chain(&source.comments) {
            count += 1;
            found.look(&name, text);
        }
    }
    assert!(count > 2_000, "the literals are found: {count}");
    found.is_nothing();
}

#[test]
fn literals_and_comments_are_told_apart_and_words_are_whole() {
    let source = Source::read(
        "// a \"b\"\nlet c = ('\"', '\\'', \"d\\\n   e \\\"f\\\"\", r#\"g \"h\" \"#, 'x'); fn i<'a>() {} // j\n",
    );
    assert_eq!(source.literals, ["d    e \"f\"", "g \"h\" "]);
    assert_eq!(source.comments, ["// a \"b\"", "// j"]);
    assert_eq!(forbidden("Nobody\n  knows; it understands"), ["nobody"]);
    assert_eq!(forbidden("drawn by\nlot."), ["by lot"]);
    let document = "A `nobody`.\n\n```text\nsomebody\n```\n\nWhoever `x\ny` stands.\n";
    assert_eq!(forbidden(&without_code(document)), ["whoever", "stands"]);
}
