//! What a container of an image would get, and which line of the policy says so.

use serde::Serialize;

use super::change::{Change, Layer, built_in};
use super::rules::{ImageRule, Policy};
use crate::contract::image_ref::ImageRef;

/// What a policy says of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    /// Why it may not run; none where it may.
    pub(crate) refusal: Option<String>,
    /// The pattern of `allowed-images` that lets it run; none where there are no patterns or none matches.
    pub(crate) allowed_by: Option<String>,
    /// The `[[image]]` that applies.
    pub(crate) rule: Option<AppliedRule>,
    /// What a container of it gets, also where it may not run.
    pub(crate) rows: Vec<Row>,
}

/// The `[[image]]` that applies: the first that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AppliedRule {
    /// Its patterns.
    #[serde(rename = "match")]
    pub(crate) patterns: Vec<String>,
    /// The line of its heading.
    pub(crate) line: usize,
}

/// One thing that a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// The key of the policy; of an entry of a table with its name.
    pub(crate) key: String,
    /// What it gets; stars for values of `env`.
    pub(crate) value: String,
    /// What says so.
    pub(crate) from: Section,
    /// The line that says so; none where the policy says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
}

/// What says something about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Section {
    /// Nothing in the file.
    BuiltIn,
    /// `[defaults]`
    Defaults,
    /// The `[[image]]` that applies.
    Image,
}

impl Policy {
    /// What it says of this image.
    pub(crate) fn explain(&self, image: &ImageRef) -> Explained {
        let allowed_by = self.allowed.iter().flatten().find(|glob| glob.matches(image)).map(ToString::to_string);
        let rule = self.rule(image);
        let mut rows: Vec<Row> = built_in().iter().map(|change| row(change, Section::BuiltIn, None)).collect();
        let mut add = |layer: &Layer, from| {
            for set in layer {
                let row = row(&set.change, from, Some(set.line));
                match rows.iter_mut().find(|known| known.key == row.key) {
                    Some(known) => *known = row,
                    None => rows.push(row),
                }
            }
        };
        add(&self.defaults, Section::Defaults);
        if let Some(rule) = rule {
            add(&rule.layer, Section::Image);
        }
        Explained {
            refusal: self.admit(image).err().map(|refusal| refusal.to_string()),
            allowed_by,
            rule: rule.map(applied),
            rows,
        }
    }
}

fn row(change: &Change, from: Section, line: Option<usize>) -> Row {
    Row { key: change.key(), value: change.shown(), from, line }
}

fn applied(rule: &ImageRule) -> AppliedRule {
    AppliedRule { patterns: rule.globs.iter().map(ToString::to_string).collect(), line: rule.line }
}
