//! Patterns for image references.
//!
//! A pattern is compared with the normal form of a reference: registry and path first, then the tag or the digest. `*`
//! is any text without a slash, `**` any text. A pattern without a tag and without a digest is for all of them.

use std::fmt;

use crate::contract::image_ref::ImageRef;
use crate::contract::reference::Reference;

/// Characters of a pattern: a reference may have 255 of a name and 128 of a tag or digest.
const CHARS_MAX: usize = 512;

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    name: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Glob {
    /// Reads a pattern; the error is the rest of a sentence that begins with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_known = |letter: char| letter.is_ascii_alphanumeric() || "*/:@._-[]".contains(letter);
        if text.is_empty() {
            return Err("is empty; write a pattern, or \"**\" for every image".to_owned());
        }
        if text.len() > CHARS_MAX {
            return Err(format!("is longer than {CHARS_MAX} characters"));
        }
        if let Some(other) = text.chars().find(|letter| !is_known(*letter)) {
            return Err(format!(
                "holds {other:?}, which no image reference has; `*` is any text without a slash, `**` any text"
            ));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        let path_begins = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[path_begins..].find(':') {
            Some(colon) => (&rest[..path_begins + colon], Some(rest[path_begins + colon + 1..].to_owned())),
            None => (rest, None),
        };
        if tag.as_deref() == Some("") || digest.as_deref() == Some("") {
            return Err("ends with nothing after its `:` or `@`".to_owned());
        }
        if tag.is_some() && digest.is_some() {
            return Err("has a tag and a digest, but the tag of a reference with a digest is left out; remove the tag"
                .to_owned());
        }
        has_registry(name, text)?;
        Ok(Self { name: name.to_owned(), tag, digest })
    }

    /// Whether it is for this image.
    pub fn matches(&self, image: &ImageRef) -> bool {
        let name = Reference::repository(image.as_str());
        let Some(Reference { version, is_digest, .. }) = Reference::parse(image.as_str()) else { return false };
        let (tag, digest) = if is_digest { (None, Some(version)) } else { (Some(version), None) };
        covers(&self.name, name)
            && self.tag.as_deref().is_none_or(|pattern| tag.is_some_and(|tag| covers(pattern, tag)))
            && self.digest.as_deref().is_none_or(|pattern| digest.is_some_and(|digest| covers(pattern, digest)))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// A pattern that leaves the registry out would match nothing, because the normal form never does.
fn has_registry(name: &str, text: &str) -> Result<(), String> {
    let Some((first, path)) = name.split_once('/') else {
        return match name {
            _ if name.contains("**") => Ok(()),
            "*" => Err("is any text without a slash; write \"**\" for every image".to_owned()),
            _ => Err(format!("has no registry; write \"docker.io/library/{text}\"")),
        };
    };
    if path.is_empty() || first.is_empty() || path.split('/').any(str::is_empty) {
        return Err("has nothing between two slashes, or after the last one".to_owned());
    }
    let has_capital = first.bytes().any(|byte| byte.is_ascii_uppercase());
    if !(first.contains(['.', ':', '*']) || first == "localhost" || has_capital) {
        return Err(format!("has no registry; write \"docker.io/{text}\""));
    }
    if first == "docker.io" && !path.contains('/') && !path.contains("**") {
        let short = text.trim_start_matches("docker.io/");
        return Err(match short {
            "*" => "matches nothing, because every path of docker.io has a slash; write \"docker.io/**\"".to_owned(),
            _ => format!("matches nothing; write \"docker.io/library/{short}\""),
        });
    }
    Ok(())
}

/// Whether the whole text is one that the pattern matches. All ways to read the pattern are followed at once, so that none
/// takes longer than their lengths multiplied.
fn covers(pattern: &str, text: &str) -> bool {
    let steps = steps(pattern);
    // After so many steps of the pattern, the text so far is covered.
    let mut reached = vec![false; steps.len() + 1];
    reached[0] = true;
    skip(&steps, &mut reached);
    for letter in text.bytes() {
        let mut next = vec![false; steps.len() + 1];
        for (at, step) in steps.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match step {
                Step::Letter(expected) => next[at + 1] |= *expected == letter,
                Step::Part => next[at] |= letter != b'/',
                Step::Anything => next[at] = true,
            }
        }
        skip(&steps, &mut next);
        if !next.contains(&true) {
            return false;
        }
        reached = next;
    }
    reached[steps.len()]
}

enum Step {
    Letter(u8),
    /// `*`
    Part,
    /// `**`
    Anything,
}

/// A star may match no text at all.
fn skip(steps: &[Step], reached: &mut [bool]) {
    for (at, step) in steps.iter().enumerate() {
        if reached[at] && !matches!(step, Step::Letter(_)) {
            reached[at + 1] = true;
        }
    }
}

fn steps(pattern: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut letters = pattern.bytes().peekable();
    while let Some(letter) = letters.next() {
        if letter != b'*' {
            steps.push(Step::Letter(letter));
            continue;
        }
        let mut stars = 1;
        while letters.next_if_eq(&b'*').is_some() {
            stars += 1;
        }
        steps.push(if stars == 1 { Step::Part } else { Step::Anything });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(text: &str) -> ImageRef {
        ImageRef::parse(text).expect("a reference")
    }

    #[test]
    fn stars_stay_within_a_part_and_two_stars_do_not() {
        let digest = format!("r.example/team/a@sha256:{}", "a".repeat(64));
        for (pattern, text, expected) in [
            ("**", "redis", true),
            ("**", digest.as_str(), true),
            ("docker.io/library/redis", "redis:7", true),
            ("docker.io/library/redis:7", "redis:7", true),
            ("docker.io/library/redis:7", "redis:7.1", false),
            ("docker.io/library/redis:7*", "redis:7.1", true),
            ("docker.io/library/redis:7", "redis", false),
            ("docker.io/library/redis", "redis-evil", false),
            ("r.example/team/*", "r.example/team/a:1", true),
            ("r.example/team/*", "r.example/team/a/b:1", false),
            ("r.example/team/*", "r.example/team-evil/a", false),
            ("r.example/team/**", "r.example/team/a/b:1", true),
            ("r.example/team/**", "r.example/team:1", false),
            ("r.example/**/a", "r.example/x/y/a", true),
            ("r.example/**/a", "r.example/a", false),
            ("r.example/*", "r.example.evil/a", false),
            ("r.example:5000/*", "r.example:5000/a", true),
            ("r.example/*", "r.example:5000/a", false),
            ("*.example/*", "r.example/a", true),
            ("*.example/*", "r.s.example/a", true),
            ("r.example/team/a@*", digest.as_str(), true),
            ("r.example/team/a", digest.as_str(), true),
            ("r.example/team/a:*", digest.as_str(), false),
            ("r.example/team/a@*", "r.example/team/a:1", false),
            ("r.example/team/a@sha256:bbbb*", digest.as_str(), false),
            ("docker.io/**", "localhost/docker.io/a", false),
            ("localhost/*", "localhost/a", true),
            ("[::1]:5000/*", "[::1]:5000/a", true),
        ] {
            let glob = Glob::parse(pattern).unwrap_or_else(|error| panic!("{pattern} {error}"));
            assert_eq!(glob.matches(&image(text)), expected, "{pattern} for {text}");
            assert_eq!(glob.to_string(), pattern);
        }
    }

    #[test]
    fn a_pattern_that_could_match_nothing_is_refused_with_the_right_one() {
        let long = format!("r.example/{}", "a".repeat(600));
        for (pattern, advice) in [
            ("", "write a pattern"),
            ("redis", "write \"docker.io/library/redis\""),
            ("redis:7", "write \"docker.io/library/redis:7\""),
            ("galaxy/*", "write \"docker.io/galaxy/*\""),
            ("galaxy/**", "write \"docker.io/galaxy/**\""),
            ("*", "write \"**\""),
            ("docker.io/redis", "write \"docker.io/library/redis\""),
            ("docker.io/*", "write \"docker.io/**\""),
            ("r.example//a", "nothing between two slashes"),
            ("r.example/", "after the last one"),
            ("r.example/a:", "nothing after"),
            ("r.example/a@", "nothing after"),
            ("r.example/a:1@sha256:*", "remove the tag"),
            ("r.example/a?", "holds '?'"),
            ("r.example/a b", "holds ' '"),
            (&long, "longer than"),
        ] {
            let error = Glob::parse(pattern).expect_err(pattern);
            assert!(error.contains(advice), "{pattern}: {error}");
        }
    }

    /// What a pattern means, tried in every way.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', b'*', ..] => {
                let stars = pattern.iter().take_while(|letter| **letter == b'*').count();
                (0..=text.len()).any(|length| naive(&pattern[stars..], &text[length..]))
            }
            [b'*', rest @ ..] => (0..=text.len())
                .take_while(|length| !text[..*length].contains(&b'/'))
                .any(|length| naive(rest, &text[length..])),
            [letter, rest @ ..] => text.split_first().is_some_and(|(first, text)| first == letter && naive(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn all_ways_at_once_are_every_way_in_turn(pattern in "[ab/*]{0,10}", text in "[ab/]{0,12}") {
            prop_assert_eq!(covers(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_reference_without_stars_matches_itself_and_nothing_shorter(name in "[a-z]{1,8}/[a-z]{1,8}", tag in "[a-z0-9]{1,6}") {
            let reference = image(&format!("r.example/{name}:{tag}"));
            let glob = Glob::parse(reference.as_str());
            prop_assert!(glob.is_ok_and(|glob| glob.matches(&reference)));
            let longer = image(&format!("r.example/{name}x:{tag}"));
            let untagged = Glob::parse(&format!("r.example/{name}"));
            prop_assert!(untagged.is_ok_and(|glob| glob.matches(&reference) && !glob.matches(&longer)));
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,80}|[a-z*/:@.]{0,40}") {
            if let Ok(glob) = Glob::parse(&text) {
                prop_assert_eq!(glob.to_string(), text);
                let _ = glob.matches(&image("r.example/a:1"));
            }
        }
    }
}
