//! The fleet's pause: a key that an operator sets and every replica looks at before it reads or claims.
//!
//! A HASH with one field `group:<name>` a group that is held, whose value is JSON. Every other content of the key holds
//! all groups of the stream: `at_ms`, `by` and `reason` as earlier versions write them, or what was set by hand. With a
//! field `group` beside them they hold that group alone. Earlier versions hold while the key exists, whatever is in it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::group::Group;
use crate::redis::{Kind, RedisError};

/// What the field of one group is named; the group follows.
const OF_GROUP: &str = "group:";
/// The field that says which group the other fields hold.
const GROUP: &str = "group";
/// A HASH with more fields is a pause of all groups: no further one is looked at.
const FIELDS_MAX: i64 = 100;
/// Characters of a name and of a reason that are kept.
const TEXT_MAX: usize = 512;

/// Who has paused the fleet, when, and why; empty and 0 if the key does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Pause {
    /// Since when, by the server's clock, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// `user@host`
    pub(crate) by: String,
    /// For people.
    pub(crate) reason: String,
    /// The group that it holds; none: every group of the stream.
    pub(crate) group: Option<String>,
}

impl Pause {
    /// The pause that holds this group, from the fields of the key. The group's own comes first.
    pub(crate) fn of_fields(fields: &HashMap<String, String>, group: &str) -> Option<Self> {
        if let Some(own) = fields.get(&field(group)) {
            let pause: Self = serde_json::from_str(own).unwrap_or_default();
            return Some(Self { group: Some(group.to_owned()), ..pause }.short());
        }
        let names = fields.keys().map(String::as_str);
        holds(names, fields.get(GROUP).map(String::as_str), group).then(|| {
            let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
            let at_ms = text("at_ms").parse().unwrap_or_default();
            Self { at_ms, by: text("by"), reason: text("reason"), group: fields.get(GROUP).cloned() }.short()
        })
    }

    fn short(self) -> Self {
        let short = |text: String| text.chars().take(TEXT_MAX).collect();
        Self { by: short(self.by), reason: short(self.reason), ..self }
    }
}

fn field(group: &str) -> String {
    format!("{OF_GROUP}{group}")
}

/// Do fields of these names hold the group? `only` is the value of the field `group`.
fn holds<'a>(names: impl IntoIterator<Item = &'a str>, only: Option<&str>, group: &str) -> bool {
    let (mut is_empty, mut is_own, mut is_of_all) = (true, false, false);
    for name in names {
        is_empty = false;
        match name.strip_prefix(OF_GROUP) {
            Some(of) => is_own |= of == group,
            None => is_of_all = true,
        }
    }
    is_own || ((is_empty || is_of_all) && only.is_none_or(|only| only.is_empty() || only == group))
}

impl Group {
    /// Does an operator hold the group? Where so, a replica neither reads nor claims. One call while no pause exists.
    pub(crate) async fn is_paused(&self) -> Result<bool, RedisError> {
        if !self.commands.exists(&self.keys.paused).await? {
            return Ok(false);
        }
        match self.holds_us().await {
            // Something else than a HASH, or a user that may not look into it: the key is there, and so it holds.
            Err(error) if matches!(error.kind, Kind::WrongType | Kind::Denied) => Ok(true),
            answer => answer,
        }
    }

    /// Does the pause that exists hold this group?
    async fn holds_us(&self) -> Result<bool, RedisError> {
        let key = self.keys.paused.as_str();
        let count: i64 = self.commands.raw(&["HLEN", key]).await?.convert()?;
        if count > FIELDS_MAX {
            return Ok(true);
        }
        let names: Vec<bytes::Bytes> = self.commands.raw(&["HKEYS", key]).await?.convert()?;
        if names.is_empty() {
            // It has ended meanwhile.
            return Ok(false);
        }
        let names: Vec<String> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let only: Option<bytes::Bytes> = self.commands.raw(&["HGET", key, GROUP]).await?.convert()?;
        let only = only.map(|only| String::from_utf8_lossy(&only).into_owned());
        Ok(holds(names.iter().map(String::as_str), only.as_deref(), &self.settings.group))
    }

    /// The pause that holds this group.
    pub(crate) async fn paused(&self) -> Result<Option<Pause>, RedisError> {
        if !self.is_paused().await? {
            return Ok(None);
        }
        match self.commands.hash(&self.keys.paused).await {
            Ok(fields) if fields.is_empty() => Ok(None),
            Ok(fields) => Ok(Pause::of_fields(&fields.into_iter().collect(), &self.settings.group)),
            // Set by hand, as something else: it holds all the same.
            Err(error) if error.kind == Kind::WrongType => Ok(Some(Pause::default())),
            Err(error) => Err(error),
        }
    }

    /// Pauses the group; answers the pause that was there before, which stays as it is.
    pub(crate) async fn pause(&self, by: &str, reason: &str) -> Result<Option<Pause>, RedisError> {
        if let Some(before) = self.paused().await? {
            self.wake_all().await;
            return Ok(Some(before));
        }
        let at_ms = self.now_ms().await?;
        let value = serde_json::json!({ "at_ms": at_ms, "by": by, "reason": reason }).to_string();
        let field = field(&self.settings.group);
        self.commands.set_hash(&self.keys.paused, &[(&field, &value)]).await?;
        self.wake_all().await;
        Ok(None)
    }

    /// Ends the pause, also one of all groups; answers the one there was. A pause of another group stays.
    pub(crate) async fn resume(&self) -> Result<Option<Pause>, RedisError> {
        let Some(before) = self.paused().await? else { return Ok(None) };
        let fields = match self.commands.hash(&self.keys.paused).await {
            Ok(fields) => fields.into_iter().map(|(name, _)| name).collect(),
            Err(error) if error.kind == Kind::WrongType => Vec::new(),
            Err(error) => return Err(error),
        };
        let own = field(&self.settings.group);
        let is_of_other = |name: &&String| name.starts_with(OF_GROUP) && **name != own;
        if fields.iter().any(|name| is_of_other(&name)) {
            let ended: Vec<&str> = fields.iter().filter(|name| !is_of_other(name)).map(String::as_str).collect();
            self.commands.raw(&[&["HDEL", &self.keys.paused], &ended[..]].concat()).await?;
        } else {
            self.commands.remove(&self.keys.paused).await?;
        }
        self.wake_all().await;
        Ok(Some(before))
    }

    /// Lets the replicas look at the pause at once. Where that is refused they look with their next renewals.
    async fn wake_all(&self) {
        drop(self.call(&self.scripts.wake, &[], []).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)], group: &str) -> Option<Pause> {
        let fields = fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Pause::of_fields(&fields, group)
    }

    #[test]
    fn a_pause_holds_its_group_or_all_of_them() {
        let old = [("at_ms", "5"), ("by", "ann@h"), ("reason", "why")];
        for group in ["a", "b"] {
            let pause = of(&old, group).expect("a pause of an older version holds every group");
            assert_eq!((pause.at_ms, pause.by.as_str(), pause.group), (5, "ann@h", None));
            assert!(of(&[], group).is_some() && of(&[("x", "")], group).is_some(), "set by hand");
        }
        let own = [("group:a", r#"{"at_ms":7,"by":"bob@h","reason":""}"#)];
        let pause = of(&own, "a").expect("its own");
        assert_eq!((pause.at_ms, pause.by.as_str(), pause.group.as_deref()), (7, "bob@h", Some("a")));
        assert_eq!(of(&own, "b"), None, "of another group");
        let both = [own[0], ("group:b", "not JSON")];
        assert!(of(&both, "a").is_some() && of(&both, "b").is_some() && of(&both, "c").is_none());
        let all = [old[0], own[0]];
        assert_eq!(
            (of(&all, "a").map(|pause| pause.at_ms), of(&all, "b").map(|pause| pause.at_ms)),
            (Some(7), Some(5))
        );
        let named = [old[0], ("group", "a")];
        assert!(of(&named, "a").is_some() && of(&named, "b").is_none());
    }
}
