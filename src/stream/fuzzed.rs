//! Records that other versions and other programs wrote into Redis, for the fuzzer.

use bytes::Bytes;

use super::mark::{cancelled_of, marks_of};
use super::open::{OPEN_MAX, OpenRecord};
use super::presence::Presence;
use super::tally::Record;

/// One record, read as each kind in turn.
pub(crate) fn records(bytes: &[u8]) {
    if let Some(open) = OpenRecord::parse(bytes) {
        assert!(open.jobs.len() <= OPEN_MAX, "{} jobs", open.jobs.len());
    }
    let words: Vec<Bytes> = bytes.split(|&byte| byte == 0xff).map(Bytes::copy_from_slice).collect();
    if let Ok(marks) = marks_of(&words) {
        assert!(marks.len() <= words.len() / 5, "{} marks", marks.len());
    }
    drop(cancelled_of(&words));
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Presence::parse(text));
        let number = text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
        if let Some(mut record) = Record::read(text, number) {
            let same = record.clone();
            record.add(&same);
        }
    }
}
