//! What a policy says of images.

use std::collections::BTreeSet;

use super::change::{Change, Layer, terms_of};
use super::glob::Glob;
use super::terms::{Refusal, Terms};
use crate::contract::image_ref::ImageRef;
use crate::contract::reference::Reference;
use crate::secret::Secret;

/// What a policy says. The default is what holds without a policy file: every image may run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// `allowed-images`; none: every image may run.
    pub(super) allowed: Option<Vec<Glob>>,
    /// `require-digest`
    pub(super) require_digest: bool,
    /// `containers-max`
    pub(super) containers_max: Option<u32>,
    /// `[defaults]`
    pub(super) defaults: Layer,
    /// Each `[[image]]`, in the order of the file.
    pub(super) images: Vec<ImageRule>,
    /// A short digest of everything it says but the values of `env`; empty without a file.
    pub(super) digest: String,
}

/// One `[[image]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageRule {
    /// `match`
    pub(super) globs: Vec<Glob>,
    /// The line of its heading.
    pub(super) line: usize,
    pub(super) layer: Layer,
}

impl Policy {
    /// What a container of this image gets.
    pub fn terms(&self, image: &ImageRef) -> Result<Terms, Refusal> {
        self.admit(image)?;
        Ok(terms_of(&self.layers(image)))
    }

    /// How many games may run or start on one host; none: as many as fit.
    pub fn containers_max(&self) -> Option<u32> {
        self.containers_max
    }

    /// A short text that tells policies apart; none where there is no file.
    pub fn digest(&self) -> Option<&str> {
        (!self.digest.is_empty()).then_some(self.digest.as_str())
    }

    /// Whether it may run.
    pub(crate) fn admit(&self, image: &ImageRef) -> Result<(), Refusal> {
        let name = image.as_str();
        if let Some(allowed) = &self.allowed
            && !allowed.iter().any(|glob| glob.matches(image))
        {
            return Err(Refusal(format!(
                "the policy does not allow {name}: no pattern of allowed-images matches it; use an allowed image, or add a \
                 pattern for it to the policy file"
            )));
        }
        if self.require_digest && !Reference::parse(name).is_some_and(|parts| parts.is_digest) {
            return Err(Refusal(format!(
                "the policy has require-digest, and {name} names a tag; name the image by its digest, as \
                 REPOSITORY@sha256:..."
            )));
        }
        Ok(())
    }

    fn changes(&self) -> impl Iterator<Item = &Change> {
        let layers = std::iter::once(&self.defaults).chain(self.images.iter().map(|rule| &rule.layer));
        layers.flatten().map(|set| &set.change)
    }

    /// Every value of `env` that it has for any image.
    pub(crate) fn env_values(&self) -> impl Iterator<Item = &Secret> {
        self.changes().filter_map(|change| match change {
            Change::Env(_, value) => Some(value),
            _ => None,
        })
    }

    /// The networks that it names, as engines call them.
    pub(crate) fn networks(&self) -> BTreeSet<&str> {
        self.changes()
            .filter_map(|change| if let Change::Network(network) = change { network.as_deref() } else { None })
            .collect()
    }

    /// The folders of the host that it mounts.
    pub(crate) fn folders(&self) -> BTreeSet<&str> {
        self.changes()
            .filter_map(|change| if let Change::Mounts(mounts) = change { Some(mounts) } else { None })
            .flatten()
            .map(|mount| mount.source.as_str())
            .filter(|source| source.starts_with('/'))
            .collect()
    }

    /// The OCI runtimes that it names, as engines call them.
    pub(crate) fn runtimes(&self) -> BTreeSet<&str> {
        self.changes()
            .filter_map(|change| if let Change::Runtime(runtime) = change { runtime.as_deref() } else { None })
            .collect()
    }

    /// The first `[[image]]` that matches.
    pub(super) fn rule(&self, image: &ImageRef) -> Option<&ImageRule> {
        self.images.iter().find(|rule| rule.globs.iter().any(|glob| glob.matches(image)))
    }

    /// What is changed of the built-in terms, in this order.
    fn layers(&self, image: &ImageRef) -> Vec<&Layer> {
        std::iter::once(&self.defaults).chain(self.rule(image).map(|rule| &rule.layer)).collect()
    }
}
