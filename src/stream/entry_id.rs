//! Entry ids: two unsigned 64-bit numbers, ordered by value and not by text.

use std::fmt;
use std::str::FromStr;

/// The id of one stream entry, `milliseconds-sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Unix milliseconds where Redis made the id.
    pub ms: u64,
    /// Order within the millisecond.
    pub seq: u64,
}

/// The text is not an entry id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a stream entry id: {0:?}")]
pub struct NotAnEntryId(pub(crate) String);

/// An hour, which one bucket of the ledger is for.
pub(crate) const HOUR_MS: u32 = 3_600_000;

impl EntryId {
    /// The id before every entry.
    pub(crate) const ZERO: Self = Self { ms: 0, seq: 0 };

    /// The ledger bucket of this id: the hour of its milliseconds.
    ///
    /// Computed in doubles because the Lua scripts compute it so, and both must name the same key for every id.
    #[expect(
        clippy::cast_precision_loss,
        reason = "Lua's numbers are doubles; the loss must be the same on both sides"
    )]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a quotient of a u64 fits a u64")]
    pub fn ledger_hour(self) -> u64 {
        (self.ms as f64 / f64::from(HOUR_MS)).floor() as u64
    }
}

impl FromStr for EntryId {
    type Err = NotAnEntryId;

    /// Accepts `123-4` and, as the original worker's offset store did, a bare `123`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        match (decimal(ms), decimal(seq)) {
            (Some(ms), Some(seq)) => Ok(Self { ms, seq }),
            _ => Err(NotAnEntryId(text.chars().take(64).collect())),
        }
    }
}

/// `str::parse` would accept a leading `+`, which Redis does not.
fn decimal(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn full_and_bare_ids_parse_and_nothing_else_does() {
        assert_eq!("123".parse(), Ok(EntryId { ms: 123, seq: 0 }));
        assert_eq!("18446744073709551615-18446744073709551615".parse(), Ok(EntryId { ms: u64::MAX, seq: u64::MAX }));
        for bad in ["", "-", "1-", "-1", "+1", "1-+2", "1-2-3", "x", "18446744073709551616", "1 ", "$", "1.0"] {
            assert!(bad.parse::<EntryId>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_value_are_one_and_order_is_numeric(a in any::<(u64, u64)>(), b in any::<(u64, u64)>()) {
            let (x, y) = (EntryId { ms: a.0, seq: a.1 }, EntryId { ms: b.0, seq: b.1 });
            prop_assert_eq!(x.to_string().parse(), Ok(x));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            if let Ok(id) = text.parse::<EntryId>() {
                prop_assert!(text.starts_with(|c: char| c.is_ascii_digit()));
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }
    }
}
