//! Game ids that can name a container and a Redis key.

/// Longest game id.
const LENGTH_MAX: usize = 64;

/// A validated game id: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
///
/// No braces, because the id is the hash tag of the game's keys; nothing a container name could not hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GameId(String);

/// The text is no game id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("game id {0:?} must be 1 to 64 letters, digits, '.', '_' or '-', and begin with a letter or digit")]
pub struct InvalidGameId(String);

impl GameId {
    /// Validates a trimmed id.
    pub fn parse(text: &str) -> Result<Self, InvalidGameId> {
        let first_ok = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest_ok = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if first_ok && rest_ok && text.len() <= LENGTH_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidGameId(text.chars().take(LENGTH_MAX + 16).collect()))
        }
    }

    /// The id.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the game's one container. Deterministic: the engine's own uniqueness of names is a second lock.
    pub(crate) fn container_name(&self) -> String {
        format!("rtm-{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_docker_and_redis_take_are_taken_and_nothing_else() {
        let longest = "g".repeat(64);
        for good in ["g", "7", "game-1", "A.b_c-9", longest.as_str()] {
            assert!(GameId::parse(good).is_ok(), "{good}");
        }
        let too_long = "g".repeat(65);
        for bad in ["", "-g", ".g", "_g", "a b", "a/b", "{a}", "é", "a\n", too_long.as_str()] {
            assert!(GameId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
