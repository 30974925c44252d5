//! Entry ids, read and ordered by themselves.

use std::fmt;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub ms: u64,
    pub seq: u64,
}

impl Id {
    pub const ZERO: Self = Self { ms: 0, seq: 0 };
    pub const HOUR: u64 = 3_600_000;

    /// A bare number of milliseconds is an id too.
    pub fn parse(text: &str) -> Option<Self> {
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }

    /// What XADD gives next at this moment.
    pub fn after(self, now: u64) -> Self {
        if now > self.ms { Self { ms: now, seq: 0 } } else { Self { ms: self.ms, seq: self.seq + 1 } }
    }

    pub fn hour(self) -> u64 {
        self.ms / Self::HOUR
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}
