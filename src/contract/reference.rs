//! A normalised image reference, taken apart.

/// The parts of `registry/path:tag` or `registry/path@digest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// The host of the registry, with a port where it has one: `docker.io`.
    pub(crate) registry: &'a str,
    /// What it is called there: `library/redis`.
    pub(crate) path: &'a str,
    /// A tag or a digest.
    pub(crate) version: &'a str,
    /// It is a digest, so it always means the same image.
    pub(crate) is_digest: bool,
}

impl<'a> Reference<'a> {
    /// The parts, where it has all of them.
    pub(crate) fn parse(image: &'a str) -> Option<Self> {
        let (registry, rest) = image.split_once('/')?;
        let (path, version, is_digest) = match rest.split_once('@') {
            Some((path, digest)) => (path, digest, true),
            None => rest.rsplit_once(':').map(|(path, tag)| (path, tag, false))?,
        };
        Some(Self { registry, path, version, is_digest })
    }

    /// `registry/path`: what a registry counts requests by, at the finest.
    pub(crate) fn repository(image: &'a str) -> &'a str {
        match Self::parse(image) {
            Some(parts) => &image[..parts.registry.len() + 1 + parts.path.len()],
            None => image,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        for (image, expected) in [
            ("docker.io/library/redis:7", Some(("docker.io", "library/redis", "7", false))),
            ("[::1]:5000/a/b@sha256:00", Some(("[::1]:5000", "a/b", "sha256:00", true))),
            ("h:5000/a", None),
            ("redis:7", None),
        ] {
            let parts =
                Reference::parse(image).map(|parts| (parts.registry, parts.path, parts.version, parts.is_digest));
            assert_eq!(parts, expected, "{image}");
        }
        assert_eq!(Reference::repository("h:5000/a/b:1"), "h:5000/a/b");
        assert_eq!(Reference::repository("h/a@sha256:0"), "h/a");
    }
}
