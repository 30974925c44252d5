//! The dead letter: why an entry could not be answered in the ordinary way, then the entry itself.

use bytes::Bytes;

use super::Fields;

/// Why an entry became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is not a start job; no outcome.
    Malformed,
    /// Its process died too often while it ran; answered `failure`.
    Poison,
    /// The start service failed until the budget was spent; answered `failure`.
    RetriesExhausted,
    /// Its payload was deleted from the stream while it was pending; no outcome.
    EntryLost,
    /// It is too large to be read; answered `failure`, and left in the stream.
    TooLarge,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Malformed, Self::Poison, Self::RetriesExhausted, Self::EntryLost, Self::TooLarge];

    /// The value of the `reason` field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Poison => "poison",
            Self::RetriesExhausted => "retries_exhausted",
            Self::EntryLost => "entry_lost",
            Self::TooLarge => "job_too_large",
        }
    }
}

/// The pairs of a dead letter before `outcome_id` and the original fields, in wire order.
pub const HEAD_FIELDS: [&str; 8] =
    ["source_ref", "reason", "detail", "deliveries", "crashes", "failures", "dead_at_ms", "consumer"];

/// The last of our own pairs: the id of the outcome published with it, empty where none was.
pub const OUTCOME_ID: &str = "outcome_id";

/// How many original pairs a dead letter keeps. Redis's Lua can pass about 8,000 arguments to one command.
pub(crate) const KEPT_PAIRS_MAX: usize = 3_000;
/// How many bytes a dead letter keeps of one name or value.
pub(crate) const KEPT_VALUE_MAX: usize = 64 * 1024;
/// How many bytes of names and values a dead letter keeps in all.
pub(crate) const KEPT_BYTES_MAX: usize = 256 * 1024;

/// What is kept of an entry for its dead letter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    pairs: Fields,
    /// What the dead letter's `detail` says about what is missing.
    cut: Option<String>,
}

impl Kept {
    /// The first pairs of an entry, in order, names repeated as they came, within the bounds of a dead letter. Whatever is
    /// cut is copied, so that it does not hold the whole entry in memory.
    pub(crate) fn of(fields: Fields) -> Self {
        let size: usize = size_of(&fields);
        let is_whole = fields.len() <= KEPT_PAIRS_MAX
            && size <= KEPT_BYTES_MAX
            && fields.iter().all(|(name, value)| name.len() <= KEPT_VALUE_MAX && value.len() <= KEPT_VALUE_MAX);
        if is_whole {
            return Self { pairs: fields, cut: None };
        }
        let mut room = KEPT_BYTES_MAX;
        let mut keep = |text: &Bytes| {
            let kept = Bytes::copy_from_slice(&text[..text.len().min(KEPT_VALUE_MAX).min(room)]);
            room -= kept.len();
            kept
        };
        let mut pairs: Fields = Vec::new();
        for (name, value) in fields.iter().take(KEPT_PAIRS_MAX) {
            let pair = (keep(name), keep(value));
            // With no room left a pair would be there without what it says.
            if (pair.0.len() < name.len() || pair.1.is_empty()) && !(name.is_empty() || value.is_empty()) {
                break;
            }
            pairs.push(pair);
        }
        let (kept, kept_bytes) = (pairs.len(), size_of(&pairs));
        let cut = format!("kept the first {kept} of {} fields and {kept_bytes} of {size} bytes", fields.len());
        Self { pairs, cut: Some(cut) }
    }

    /// The fields of a job that were taken out of an entry; the rest of it was never read. They are all that a job needs to
    /// be put back.
    pub(crate) fn job_fields(fields: Fields) -> Self {
        let mut kept = Self::of(fields);
        kept.cut
            .get_or_insert("kept the fields of the job alone; the whole entry is left in the jobs stream".to_owned());
        kept
    }

    /// Bytes of all that is kept.
    pub(crate) fn bytes(&self) -> usize {
        size_of(&self.pairs)
    }
}

/// Bytes of all names and values.
pub(crate) fn size_of(fields: &[(Bytes, Bytes)]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// A dead letter, ready for the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The entry's id in the jobs stream.
    pub source_ref: String,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub detail: String,
    /// How often the entry had been delivered.
    pub deliveries: u64,
    /// How often a process died with it.
    pub crashes: u64,
    /// How often the start service failed.
    pub failures: u64,
    /// When, by the worker's clock, in Unix milliseconds.
    pub dead_at_ms: u64,
    /// The consumer that gave it up.
    pub consumer: String,
    /// What is kept of the original pairs.
    pub original: Kept,
}

impl DeadLetter {
    /// The values of [`HEAD_FIELDS`], in that order.
    pub(crate) fn head(&self) -> [Bytes; 8] {
        let detail = match &self.original.cut {
            Some(cut) => format!("{}; {cut}", self.detail),
            None => self.detail.clone(),
        };
        [
            self.source_ref.clone(),
            self.reason.as_str().to_owned(),
            detail,
            self.deliveries.to_string(),
            self.crashes.to_string(),
            self.failures.to_string(),
            self.dead_at_ms.to_string(),
            self.consumer.clone(),
        ]
        .map(Bytes::from)
    }

    /// The original pairs that are kept.
    pub(crate) fn kept(&self) -> &[(Bytes, Bytes)] {
        &self.original.pairs
    }
}

/// Does a dead letter's `detail` say that it did not keep everything? The number of pairs it kept tells the words from the
/// same ones in an error message.
pub(crate) fn says_cut(detail: &[u8], pairs: usize) -> bool {
    let detail = String::from_utf8_lossy(detail);
    let Some((_, said)) = detail.rsplit_once("; kept the first ") else { return false };
    said.split_once(" of ").is_some_and(|(kept, _)| kept.parse() == Ok(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, bytes: usize) -> (Bytes, Bytes) {
        (Bytes::copy_from_slice(name.as_bytes()), vec![b'x'; bytes].into())
    }

    #[test]
    fn a_dead_letter_keeps_what_fits_and_says_what_it_cut() {
        let whole = vec![pair("game_id", KEPT_VALUE_MAX), pair("", 0), pair("image_ref", 3)];
        let kept = Kept::of(whole.clone());
        assert_eq!((&kept.pairs[..], &kept.cut), (&whole[..], &None));

        let long = Kept::of(vec![pair("a", 1), pair("blob", KEPT_VALUE_MAX + 1), pair("z", 1)]);
        assert_eq!(long.pairs.iter().map(|(_, value)| value.len()).collect::<Vec<_>>(), [1, KEPT_VALUE_MAX, 1]);
        assert_eq!(long.cut.as_deref(), Some("kept the first 3 of 3 fields and 65544 of 65545 bytes"));

        let heavy = Kept::of(vec![pair("n", KEPT_VALUE_MAX); 9]);
        assert!(heavy.bytes() <= KEPT_BYTES_MAX && heavy.pairs.len() == 4, "{:?}", heavy.cut);

        let many = Kept::of(vec![pair("n", 1); KEPT_PAIRS_MAX + 1]);
        assert_eq!(many.cut.as_deref(), Some("kept the first 3000 of 3001 fields and 6000 of 6002 bytes"));
        assert_eq!(Kept::of(vec![pair("n", 1); KEPT_PAIRS_MAX]).cut, None);
    }

    #[test]
    fn what_is_cut_is_told_from_words_that_only_look_like_it() {
        assert!(says_cut(b"malformed; kept the first 3 of 9 fields and 5 of 7 bytes", 3));
        assert!(says_cut(b"malformed; kept the first 3000 of 5000 fields", 3000));
        assert!(!says_cut(b"malformed; kept the first 3 of 9 fields and 5 of 7 bytes", 2));
        assert!(!says_cut(b"image \"; kept the first\" is wrong", 2));
        assert!(!says_cut(b"missing game_id", 3));
    }
}
