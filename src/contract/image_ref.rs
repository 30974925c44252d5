//! Image references: the grammar of container registries, and one normal form to compare by.

/// A validated image reference in normal form: registry, path, and a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef(String);

/// The text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image reference {text:?} is not valid: {why}")]
pub struct InvalidImageRef {
    text: String,
    why: &'static str,
}

const DEFAULT_DOMAIN: &str = "docker.io";
const NAME_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;

impl ImageRef {
    /// Parses `[domain[:port]/]path[:tag][@digest]` and fills in what is left out: `docker.io`, `library/`, `:latest`.
    pub fn parse(text: &str) -> Result<Self, InvalidImageRef> {
        normalise(text).map(Self).map_err(|why| InvalidImageRef { text: text.chars().take(300).collect(), why })
    }

    /// The normal form, as an engine pulls it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn normalise(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("a bare image id cannot be pulled");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(check_digest(digest)?)),
        None => (text, None),
    };
    // A colon after the last slash begins the tag; before it, a port.
    let path_begins = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[path_begins..].find(':') {
        Some(colon) => (&rest[..path_begins + colon], Some(check_tag(&rest[path_begins + colon + 1..])?)),
        None => (rest, None),
    };
    let (domain, path) = split_domain(name);
    check_domain(domain)?;
    if path.is_empty() || !path.split('/').all(is_path_component) {
        return Err("its path must be lower-case letters and digits, separated by '/', '.', '_', '__' or '-'");
    }
    let path =
        if domain == DEFAULT_DOMAIN && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
    if domain == DEFAULT_DOMAIN && path == "library/scratch" {
        return Err("scratch is reserved and cannot be run");
    }
    if domain.len() + 1 + path.len() > NAME_LENGTH_MAX {
        return Err("its name is longer than 255 characters");
    }
    let mut normal = format!("{domain}/{path}");
    match (tag, digest) {
        (Some(tag), None) => normal.extend([":", tag]),
        // With a digest the tag says nothing more.
        (_, Some(digest)) => normal.extend(["@", digest]),
        (None, None) => normal.push_str(":latest"),
    }
    Ok(normal)
}

/// The first component is a registry only where it cannot be a path: it holds a dot or a port, or is `localhost`, or
/// has upper-case letters.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (if first == "index.docker.io" { DEFAULT_DOMAIN } else { first }, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn check_domain(domain: &str) -> Result<(), &'static str> {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !domain.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_ok = match address {
        Some(address) => !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        None => host.split('.').all(is_domain_component),
    };
    let port_ok = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    if host_ok && port_ok { Ok(()) } else { Err("its registry is not a host name with an optional port") }
}

fn is_domain_component(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Runs of lower-case letters and digits, separated by one dot, one or two underscores, or any number of dashes.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_ok = text.bytes().next().is_some_and(alphanumeric) && text.bytes().last().is_some_and(alphanumeric);
    ends_ok
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

fn check_tag(tag: &str) -> Result<&str, &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let ok = tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || b".-".contains(&byte))
        && tag.len() <= TAG_LENGTH_MAX;
    if ok { Ok(tag) } else { Err("its tag must be 1 to 128 letters, digits, '_', '.' or '-'") }
}

fn check_digest(digest: &str) -> Result<&str, &'static str> {
    let hex_length = match digest.split_once(':') {
        Some(("sha256", hex)) => Some((hex, 64)),
        Some(("sha384", hex)) => Some((hex, 96)),
        Some(("sha512", hex)) => Some((hex, 128)),
        _ => None,
    };
    match hex_length {
        Some((hex, length)) if hex.len() == length && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
            Ok(digest)
        }
        _ => Err("its digest must be sha256, sha384 or sha512 and lower-case hexadecimal of that length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(text: &str) -> Option<String> {
        ImageRef::parse(text).ok().map(|image| image.as_str().to_owned())
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let sha = format!("sha256:{}", "a".repeat(64));
        for (text, expected) in [
            ("redis", "docker.io/library/redis:latest".to_owned()),
            ("galaxy/engine:1.4.0", "docker.io/galaxy/engine:1.4.0".to_owned()),
            ("docker.io/redis", "docker.io/library/redis:latest".to_owned()),
            ("index.docker.io/redis:7", "docker.io/library/redis:7".to_owned()),
            ("localhost/x", "localhost/x:latest".to_owned()),
            ("registry.local:5000/a/b__c-d.e:v_1", "registry.local:5000/a/b__c-d.e:v_1".to_owned()),
            ("[::1]:5000/a", "[::1]:5000/a:latest".to_owned()),
            ("a---b", "docker.io/library/a---b:latest".to_owned()),
            (&format!("redis:7@{sha}"), format!("docker.io/library/redis@{sha}")),
            ("sim/abort", "docker.io/sim/abort:latest".to_owned()),
        ] {
            assert_eq!(normal(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_no_registry_would_take_is_refused() {
        let id = "0".repeat(64);
        let long = "a".repeat(260);
        for bad in [
            "",
            ":",
            "a:",
            ":tag",
            "a//b",
            "/a",
            "a/",
            "A/b/",
            "Redis",
            "a b",
            "a:b:c",
            "a@sha256:ff",
            "a@md5:00",
            "a..b",
            "a_-b",
            "a___b",
            "-a",
            "a-",
            "a:.tag",
            "http://a/b",
            "scratch",
            "-x.y/a",
            "a.b:port/c",
            id.as_str(),
            long.as_str(),
            "a\u{e9}",
        ] {
            assert_eq!(normal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_64_hex_digits_are_a_bare_id_and_brackets_hold_an_address() {
        let hex = |length: usize| "0123456789abcdef".chars().cycle().take(length).collect::<String>();
        assert_eq!(normal(&hex(64)), None);
        let names = ["cafe".to_owned(), hex(63), hex(65), format!("{}g", hex(63))];
        for name in names {
            assert_eq!(normal(&name), Some(format!("docker.io/library/{name}:latest")));
        }
        for bad in ["[]/a", "[]:5000/a", "[x::1]/a", "[::1/a", "::1]/a"] {
            assert_eq!(normal(bad), None, "{bad}");
        }
        assert_eq!(normal("[fe80::A]/a").as_deref(), Some("[fe80::A]/a:latest"));
        // 255 characters with the registry and its slash.
        let longest = "a".repeat(255 - "docker.io/b/".len());
        assert!(normal(&format!("b/{longest}")).is_some() && normal(&format!("b/{longest}a")).is_none());
    }

    proptest! {
        #[test]
        fn parsing_is_total_and_the_normal_form_is_a_fixed_point(text in "[a-zA-Z0-9:/@._\\[\\] -]{0,40}|.{0,40}") {
            if let Some(once) = normal(&text) {
                prop_assert_eq!(normal(&once), Some(once.clone()));
            }
        }
    }
}
