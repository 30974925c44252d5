//! The auditor's own entry ids: two unsigned 64-bit numbers.

use std::fmt;

/// The id of a stream entry. The order is that of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id(
    /// Milliseconds.
    pub u64,
    /// Sequence within the millisecond.
    pub u64,
);

impl Id {
    /// Before every entry; also the value for "none" where an entry's id is expected.
    pub(crate) const ZERO: Self = Self(0, 0);
    /// At or after every entry.
    pub(crate) const MAX: Self = Self(u64::MAX, u64::MAX);

    /// Reads `ms-seq`, or the bare `ms` of the original worker's offset.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(2, '-');
        let ms = number(parts.next()?)?;
        let seq = match parts.next() {
            Some(digits) => number(digits)?,
            None => 0,
        };
        Some(Self(ms, seq))
    }

    /// The number of the ledger bucket: whole hours, in doubles as the bucket names are defined.
    #[expect(clippy::cast_precision_loss, reason = "the names of the buckets are defined so")]
    pub fn hour(self) -> String {
        format!("{:.0}", (self.0 as f64 / 3_600_000.0).floor())
    }
}

fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.bytes().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_and_ordered_as_numbers() {
        assert_eq!(Id::parse("17"), Some(Id(17, 0)));
        assert_eq!(Id::parse("18446744073709551615-18446744073709551615"), Some(Id::MAX));
        assert!(Id(9, 10) < Id(10, 0) && Id(9, 2) < Id(9, 10));
        for bad in ["", "-", "-1", "1-", "1-2-3", "+1", "x", " 1", "18446744073709551616"] {
            assert_eq!(Id::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Id(3_599_999, 9).hour(), "0");
        assert_eq!(Id(1_700_000_000_000, 0).hour(), "472222");
    }
}
