//! What an operator wants of one replica: that it drains. The wish is kept beside the attempts of entries for as long as the
//! replica is there.

use bytes::Bytes;

use super::group::Group;
use super::mark::{BY_MAX, REASON_MAX, one_line};
use crate::redis::RedisError;

/// Who wants a replica to drain, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drain {
    /// `user@host`
    pub(crate) by: String,
    /// For people; may be empty.
    pub(crate) reason: String,
    /// Since when, by the server's clock, in Unix milliseconds; 0 where it does not say.
    pub(crate) at_ms: u64,
}

/// What became of an operator's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DrainPlaced {
    /// The replica will see it.
    Asked,
    /// It was asked before, and that wish stays.
    Before(Drain),
    /// It has left, or was declared dead.
    Gone,
    /// There is no replica of this name.
    Unknown,
}

impl Drain {
    /// From the words of a script: `<ms> <by> <reason>`; nothing where there are none. Another program may have written anything.
    pub(super) fn of_words(words: &[Bytes]) -> Option<Self> {
        let [at_ms, by, reason] = words else { return None };
        let text = |word: &Bytes| String::from_utf8_lossy(word).into_owned();
        let (by, reason) = (one_line(&text(by), BY_MAX), one_line(&text(reason), REASON_MAX));
        Some(Self { by, reason, at_ms: text(at_ms).parse().unwrap_or_default() })
    }
}

impl Group {
    /// Lets one replica drain: it finishes what it has, gives back the rest, and its process ends. A replica of a version that
    /// does not know this goes on. `replica` is its whole name.
    pub(crate) async fn drain(&self, replica: &str, by: &str, reason: &str) -> Result<DrainPlaced, RedisError> {
        let (by, reason) = (one_line(by, BY_MAX), one_line(reason, REASON_MAX));
        let args = [replica.into(), by.into(), reason.into()];
        let words: Vec<Bytes> = self.call(&self.scripts.drain, &[], args).await?.convert()?;
        Ok(match (words.first().map(|word| &**word), words.get(1..).unwrap_or_default()) {
            (Some(b"asked"), []) => DrainPlaced::Asked,
            (Some(b"gone"), []) => DrainPlaced::Gone,
            (Some(b"unknown"), []) => DrainPlaced::Unknown,
            (Some(b"before"), mark) => {
                Drain::of_words(mark).map(DrainPlaced::Before).ok_or_else(|| RedisError::unexpected("a wish"))?
            }
            _ => return Err(RedisError::unexpected("a wish")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_of_any_bytes_is_read() {
        let words = [b"x".as_slice(), b"ann\n\xff", b""].map(Bytes::copy_from_slice);
        let drain = Drain { by: "ann \u{fffd}".to_owned(), reason: String::new(), at_ms: 0 };
        assert_eq!(Drain::of_words(&words), Some(drain));
        assert_eq!(Drain::of_words(&words[..2]), None);
        assert_eq!(Drain::of_words(&[]), None);
    }
}
