//! Why no connection comes about: kept until one does, because calls fail meanwhile and do not know.

use std::time::Duration;

use tokio::time::Instant;

use super::{Kind, RedisError};

/// Other words than before are logged after this long; the same words never, because the condition repeats them.
const SAY_INTERVAL: Duration = Duration::from_secs(5);

/// The last words of a server or a network that gave no connection.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    last: Option<RedisError>,
    /// What was logged last, and when.
    said: Option<(String, Instant)>,
}

impl Refusals {
    /// Keeps an error; answers whether it should be logged.
    pub(super) fn note(&mut self, error: &RedisError, now: Instant) -> bool {
        self.last = Some(error.clone());
        // That a server is away or loads its data is the condition's affair.
        if !matches!(error.kind, Kind::Denied | Kind::Moving | Kind::Unexpected) && !error.is_tls() {
            return false;
        }
        let is_due = match &self.said {
            None => true,
            Some((said, at)) => *said != error.text && now.duration_since(*at) >= SAY_INTERVAL,
        };
        if is_due {
            self.said = Some((error.text.clone(), now));
        }
        is_due
    }

    /// A connection has come about.
    pub(super) fn is_over(&mut self) {
        *self = Self::default();
    }

    /// Why there is no connection.
    pub(super) fn last(&self) -> Option<&RedisError> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind, text: &str) -> RedisError {
        RedisError { kind, text: text.to_owned() }
    }

    #[test]
    fn the_same_words_are_logged_once_and_others_after_a_while() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let (wrong, none) = (refused(Kind::Denied, "WRONGPASS"), refused(Kind::Denied, "NOAUTH"));
        assert!(refusals.note(&wrong, now));
        assert!(!refusals.note(&wrong, now + SAY_INTERVAL));
        assert!(!refusals.note(&none, now));
        assert_eq!(refusals.last(), Some(&none));
        assert!(refusals.note(&none, now + SAY_INTERVAL));
        refusals.is_over();
        assert_eq!(refusals.last(), None);
        assert!(refusals.note(&none, now + SAY_INTERVAL));
    }

    #[test]
    fn a_server_that_is_away_or_loads_is_kept_and_not_logged() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        assert!(!refusals.note(&refused(Kind::Unreachable, "Connection refused"), now));
        assert!(!refusals.note(&refused(Kind::Refusing, "LOADING"), now));
        assert_eq!(refusals.last().map(|error| error.text.as_str()), Some("LOADING"));
    }
}
