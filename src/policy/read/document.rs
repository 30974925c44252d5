//! The file as a whole: the keys at its top, and its sections.

use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

use super::reading::{At, Kind, Reading};
use super::section::KEYS;
use super::{TOP_KEYS, values};
use crate::policy::change::{Change, Layer};
use crate::policy::glob::Glob;
use crate::policy::problem::{Problem, Report};
use crate::policy::rules::{ImageRule, Policy};

/// Every key of a policy file, for its documentation.
pub fn all_keys() -> Vec<&'static str> {
    TOP_KEYS.into_iter().chain(["match"]).chain(KEYS).collect()
}

/// A policy with more is a mistake.
const IMAGES_MAX: usize = 500;
/// Problems of the syntax that are collected; what follows the first is often its consequence.
const SYNTAX_PROBLEMS_MAX: usize = 5;
/// Bytes of the digest that tells policies apart.
const DIGEST_BYTES: usize = 6;

/// A policy, and what looks wrong in it and is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The policy.
    pub policy: Policy,
    /// What looks like a mistake.
    pub warnings: Vec<Problem>,
    /// The files that values of `env` name.
    pub(crate) files: Vec<String>,
    /// Whether a value of `env` is a text in the policy itself.
    pub(crate) holds_values: bool,
}

/// Reads a policy. `secret` reads a file that a value of `env` names; its error is the rest of a sentence.
pub fn parse(text: &str, secret: &dyn Fn(&str) -> Result<String, String>) -> Result<Read, Report> {
    let mut reading = Reading::of(text, secret);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problems = errors.iter().take(SYNTAX_PROBLEMS_MAX).map(|error| Problem {
            line: Some(reading.line(error.span())),
            key: String::new(),
            value: None,
            // The rest of the error quotes the line, which may hold a secret.
            advice: format!("is not TOML: {}", error.message().lines().next().unwrap_or_default()),
        });
        return Err(Report::new(problems.collect()));
    }
    let mut policy = reading.policy(document.get_ref());
    if says_nothing(document.get_ref()) {
        reading.missing(Kind::Problem, "", "is empty; to allow every image write allowed-images = [\"**\"]");
    }
    if !reading.problems.is_empty() {
        return Err(Report::new(reading.problems));
    }
    reading.warn_of_what_is_missing(&policy);
    policy.digest = digest(&policy);
    let Reading { warnings, files, holds_values, .. } = reading;
    Ok(Read { policy, warnings, files, holds_values })
}

/// A full disk or a template without values leaves such a file. It would allow everything.
fn says_nothing(table: &DeTable<'_>) -> bool {
    table.iter().all(|(_, value)| matches!(value.get_ref(), DeValue::Table(table) if says_nothing(table)))
}

impl Reading<'_> {
    fn warn_of_what_is_missing(&mut self, policy: &Policy) {
        if policy.allowed.is_none() {
            let advice = "is not set, so every image may run; if that is right, write [\"**\"]";
            self.missing(Kind::Warning, "allowed-images", advice);
        }
        if !policy.defaults.iter().any(|set| matches!(set.change, Change::Memory(_))) {
            let advice = "is not set, so a game may use all memory of its host; if that is right, write \"off\"";
            self.missing(Kind::Warning, "defaults.memory", advice);
        }
    }

    fn policy(&mut self, document: &DeTable<'_>) -> Policy {
        let mut policy = Policy::default();
        for (key, at) in self.entries("", document) {
            match key {
                "allowed-images" => policy.allowed = self.globs(&at),
                "require-digest" => policy.require_digest = self.read(&at, values::switch).unwrap_or_default(),
                "containers-max" => {
                    policy.containers_max =
                        self.read(&at, |value| values::or_off(value, values::count(1, 1_000_000))).flatten();
                }
                "defaults" => {
                    if let Some(table) = self.table(&at, "[defaults] on a line of its own") {
                        policy.defaults = self.section("defaults", table).1;
                    }
                }
                "image" => policy.images = self.images(&at),
                _ if KEYS.contains(&key) => {
                    self.refuse_key(&at, "is outside all sections; write it under [defaults] or under an [[image]]");
                }
                _ => self.unknown(key, &at, &TOP_KEYS),
            }
        }
        policy
    }

    fn images(&mut self, at: &At<'_>) -> Vec<ImageRule> {
        const FORM: &str = "is a list of sections; write [[image]] with two brackets on a line of its own";
        let DeValue::Array(items) = at.value else {
            self.refuse_key(at, FORM);
            return Vec::new();
        };
        if items.len() > IMAGES_MAX {
            self.refuse_key(at, format!("occurs more than {IMAGES_MAX} times; use `*` and `**` in match"));
        }
        let mut rules = Vec::new();
        for (number, item) in items.iter().enumerate() {
            let line = self.line(Some(item.span()));
            let DeValue::Table(table) = item.get_ref() else {
                self.refuse_key(at, FORM);
                continue;
            };
            let section = format!("image {}", number + 1);
            let (globs, layer) = self.section(&section, table);
            match globs {
                Some(globs) => rules.push(ImageRule { globs, line, layer }),
                // A match that cannot be read is a problem already.
                None if table.iter().any(|(key, _)| key.get_ref() == "match") => {}
                None => {
                    let advice = "has no match; write match = \"docker.io/galaxy/*\"".to_owned();
                    self.problems.push(Problem { line: Some(line), key: section, value: None, advice });
                }
            }
        }
        rules
    }
}

/// Of what the policy says, whatever its comments and the order of its keys. The values of `env` are left out: from a digest
/// of them a short one could be guessed.
fn digest(policy: &Policy) -> String {
    let mut said = vec![
        format!("require-digest {}", policy.require_digest),
        format!("containers-max {:?}", policy.containers_max),
    ];
    said.extend(policy.allowed.as_ref().map(|allowed| format!("allowed-images {}", sorted(allowed).join(" "))));
    said.extend(words(&policy.defaults));
    for rule in &policy.images {
        said.push(format!("image {}", sorted(&rule.globs).join(" ")));
        said.extend(words(&rule.layer));
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, said.join("\n").as_bytes());
    digest.as_ref().iter().take(DIGEST_BYTES).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn sorted(globs: &[Glob]) -> Vec<String> {
    let mut globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
    globs.sort_unstable();
    globs
}

fn words(layer: &Layer) -> Vec<String> {
    let mut words: Vec<String> =
        layer.iter().map(|set| format!("{} {}", set.change.key(), set.change.shown())).collect();
    words.sort_unstable();
    words
}
