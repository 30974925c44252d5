//! One Rust file, read as far as the rules need it: what it imports, declares and calls.

use std::collections::BTreeSet;

/// What the rules see of a file.
#[derive(Debug, Default)]
pub struct Source {
    /// Every name that a `use` brings in.
    pub uses: Vec<Use>,
    /// Every path of at least two words outside of `use`.
    pub paths: Vec<Path>,
    /// `mod x;`
    pub children: BTreeSet<String>,
    /// `mod x { .. }`
    pub inline: BTreeSet<String>,
    /// Every word outside of `use`.
    pub words: BTreeSet<String>,
    /// The same without what is only compiled for tests.
    pub words_without_tests: BTreeSet<String>,
    /// Methods in `impl Type { .. }`: type and method.
    pub methods: BTreeSet<(String, String)>,
    /// `self.method(..)` and `Self::method(..)`: type and method.
    pub calls: BTreeSet<(String, String)>,
}

/// A name that a `use` brings in.
#[derive(Debug)]
pub struct Use {
    /// What it names.
    pub path: Path,
    /// What it is called from there on.
    pub name: String,
    /// `pub use`: may be there for others only.
    pub is_exported: bool,
}

/// Words with `::` between them.
#[derive(Debug, Clone)]
pub struct Path {
    /// The words.
    pub words: Vec<String>,
    /// How many inline modules it is in: so many `super` stay in the file.
    pub depth: usize,
    /// It is only compiled for tests.
    pub is_of_tests: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Colons,
    Mark(char),
}

/// What a brace has opened.
#[derive(Debug, Clone)]
enum Scope {
    Module { is_of_tests: bool },
    Impl { name: String, is_inherent: bool },
    Other,
}

impl Source {
    /// Reads the text of a file.
    pub fn read(text: &str) -> Self {
        let mut reader = Reader { tokens: tokens(text), at: 0, scopes: Vec::new(), source: Self::default() };
        reader.run();
        reader.source
    }
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    scopes: Vec<Scope>,
    source: Source,
}

impl Reader {
    fn run(&mut self) {
        let mut opens = None;
        while let Some(token) = self.tokens.get(self.at).cloned() {
            let start = self.at;
            self.at += 1;
            match token {
                Token::Mark('{') => self.scopes.push(opens.take().unwrap_or(Scope::Other)),
                Token::Mark('}') => drop(self.scopes.pop()),
                Token::Word(word) if word == "use" && self.peek(0) != Some(&Token::Mark('<')) => {
                    let before = start.checked_sub(1).map(|at| &self.tokens[at]);
                    let is_exported = before == Some(&Token::Mark(')')) || before == Some(&word_token("pub"));
                    self.use_tree(&[], is_exported);
                }
                Token::Word(word) if word == "mod" && self.is_between_items() => {
                    let Some(Token::Word(name)) = self.peek(0).cloned() else { continue };
                    if self.peek(1) == Some(&Token::Mark('{')) {
                        self.source.inline.insert(name);
                        opens = Some(Scope::Module { is_of_tests: self.is_after_cfg_test(start) });
                    } else {
                        self.source.children.insert(name);
                    }
                    self.at += 1;
                }
                Token::Word(word) if word == "impl" && self.is_between_items() => opens = Some(self.impl_header()),
                Token::Word(word) => self.word(&word, start),
                Token::Colons | Token::Mark(_) => {}
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn is_between_items(&self) -> bool {
        self.scopes.iter().all(|scope| matches!(scope, Scope::Module { .. }))
    }

    fn is_in_tests(&self) -> bool {
        self.scopes.iter().any(|scope| matches!(scope, Scope::Module { is_of_tests: true }))
    }

    fn is_after_cfg_test(&self, at: usize) -> bool {
        let ends_with = |end: usize, words: &[&str]| {
            let before = end.checked_sub(words.len()).map(|from| &self.tokens[from..end]);
            before.is_some_and(|before| before.iter().zip(words).all(|(token, text)| token.is(text)))
        };
        let visibilities: [&[&str]; 2] = [&["pub", "(", "crate", ")"], &["pub"]];
        let visibility = visibilities.into_iter().find(|words| ends_with(at, words)).unwrap_or_default();
        ends_with(at - visibility.len(), &["#", "[", "cfg", "(", "test", ")", "]"])
    }

    fn path(&self, words: Vec<String>) -> Path {
        let depth = self.scopes.iter().filter(|scope| matches!(scope, Scope::Module { .. })).count();
        Path { words, depth, is_of_tests: self.is_in_tests() }
    }

    /// A word of code, and the path that begins with it.
    fn word(&mut self, word: &str, start: usize) {
        let mut words = vec![word.to_owned()];
        while let (Some(Token::Colons), Some(Token::Word(next))) = (self.peek(0), self.peek(1)) {
            words.push(next.clone());
            self.at += 2;
        }
        for word in &words {
            self.source.words.insert(word.clone());
            if !self.is_in_tests() {
                self.source.words_without_tests.insert(word.clone());
            }
        }
        let implemented = self.scopes.iter().rev().find_map(|scope| match scope {
            Scope::Impl { name, .. } => Some(name.clone()),
            Scope::Module { .. } | Scope::Other => None,
        });
        if word == "fn"
            && let (Some(Scope::Impl { name, is_inherent: true }), Some(Token::Word(method))) =
                (self.scopes.last(), self.peek(0))
        {
            self.source.methods.insert((name.clone(), method.clone()));
        }
        if let Some(name) = implemented {
            let after_dot = match (self.peek(0), self.peek(1)) {
                (Some(Token::Mark('.')), Some(Token::Word(method))) if words == ["self"] => Some(method.clone()),
                _ => None,
            };
            let of_self = words.get(1).filter(|_| word == "Self").cloned();
            self.source.calls.extend(after_dot.or(of_self).map(|method| (name, method)));
        }
        // What follows `::` or a dot belongs to a value or a type that is not named here.
        let is_rest = start > 0 && [Token::Colons, Token::Mark('.')].contains(&self.tokens[start - 1]);
        if words.len() > 1 && !is_rest {
            let path = self.path(words);
            self.source.paths.push(path);
        }
    }

    /// One branch of a `use`, up to the mark behind it.
    fn use_tree(&mut self, before: &[String], is_exported: bool) {
        let mut words = before.to_vec();
        let mut name = None;
        while let Some(token) = self.tokens.get(self.at).cloned() {
            match token {
                Token::Word(word) if word == "as" => {
                    if let Some(Token::Word(other)) = self.peek(1) {
                        name = Some(other.clone());
                    }
                    self.at += 2;
                }
                Token::Word(word) => {
                    words.push(word);
                    self.at += 1;
                }
                Token::Mark('*') => {
                    words.push("*".to_owned());
                    self.at += 1;
                }
                Token::Colons => self.at += 1,
                Token::Mark('{') => {
                    self.at += 1;
                    while self.peek(0).is_some_and(|token| *token != Token::Mark('}')) {
                        self.use_tree(&words, is_exported);
                        if self.peek(0) == Some(&Token::Mark(',')) {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                Token::Mark(_) => break,
            }
        }
        // `a::{self, b}`: the module itself.
        if words.len() > 1 && words.last().is_some_and(|word| word == "self") {
            words.pop();
        }
        let Some(last) = words.last().cloned() else { return };
        let path = self.path(words);
        self.source.uses.push(Use { path, name: name.unwrap_or(last), is_exported });
    }

    /// `impl<..> Type<..>` or `impl<..> Trait for Type<..>`, up to its brace.
    fn impl_header(&mut self) -> Scope {
        let (mut name, mut is_inherent, mut is_named, mut angles) = (String::new(), true, false, 0_usize);
        while let Some(token) = self.tokens.get(self.at).cloned() {
            match token {
                Token::Mark('{') if angles == 0 => break,
                Token::Mark('<') => angles += 1,
                // The head of an arrow is none.
                Token::Mark('>') if self.tokens[self.at - 1] != Token::Mark('-') => angles = angles.saturating_sub(1),
                Token::Word(word) if angles == 0 && word == "for" => (is_inherent, is_named) = (false, false),
                Token::Word(word) if angles == 0 && word == "where" => is_named = true,
                Token::Word(word) if angles == 0 && !is_named && !["dyn", "mut"].contains(&word.as_str()) => {
                    name.clone_from(&word);
                    is_named = self.peek(1) != Some(&Token::Colons);
                }
                Token::Word(_) | Token::Colons | Token::Mark(_) => {}
            }
            if let Some(Token::Word(word)) = self.peek(0) {
                self.source.words.insert(word.clone());
            }
            self.at += 1;
        }
        Scope::Impl { name, is_inherent }
    }
}

impl Token {
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Word(word) => word == text,
            Self::Colons => text == "::",
            Self::Mark(mark) => text.chars().eq([*mark]),
        }
    }
}

fn word_token(text: &str) -> Token {
    Token::Word(text.to_owned())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Words and marks, without comments, texts and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if let Some(length) = text_length(rest) {
            rest = &rest[length..];
        } else if is_word(first) {
            let (word, after) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
            found.push(word_token(word));
            rest = after;
        } else if let Some(after) = rest.strip_prefix("::") {
            found.push(Token::Colons);
            rest = after;
        } else {
            if !first.is_whitespace() {
                found.push(Token::Mark(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// The length of a text, a character or a lifetime that this begins with.
fn text_length(rest: &str) -> Option<usize> {
    let begin = rest.strip_prefix("b").unwrap_or(rest);
    let prefix = rest.len() - begin.len();
    if let Some(raw) = begin.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = &raw[hashes + 1..];
            let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
            return Some(prefix + 1 + hashes + 1 + length);
        }
    }
    let quote = begin.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    let inside = &begin[1..];
    // 'a is a lifetime, 'a' a character.
    if quote == '\'' && !inside.starts_with('\\') && inside.chars().nth(1).is_none_or(|c| c != '\'') {
        return Some(prefix + 1 + inside.find(|c| !is_word(c)).unwrap_or(inside.len()));
    }
    let mut is_escaped = false;
    for (at, c) in inside.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == quote {
            return Some(prefix + 1 + at + 1);
        }
    }
    Some(rest.len())
}
