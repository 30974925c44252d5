//! What a person who helps needs to see, in one file without secrets: a plain tar archive of texts.

use std::io::{self, Write};

use crate::secret::{STARS, Secret, without_credentials};

/// The folder in the archive.
const FOLDER: &str = "startjobs-bundle";
/// Bytes of one part that are kept.
const PART_MAX: usize = 4 << 20;
/// A shorter text is no secret worth the name, and would star half of everything.
const SECRET_MIN: usize = 4;
/// Blocks of a tar archive.
const BLOCK: usize = 512;

/// The parts of a bundle.
#[derive(Debug)]
pub(crate) struct Bundle {
    parts: Vec<(&'static str, String)>,
    /// What is starred wherever it is: the longest first.
    secrets: Vec<String>,
}

impl Bundle {
    /// An empty one, in which these are starred, as they are and as JSON writes them.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let forms = |secret: &Secret| {
            let plain = secret.expose().trim().to_owned();
            let in_json = serde_json::Value::from(plain.as_str()).to_string();
            [in_json.trim_matches('"').to_owned(), plain]
        };
        let mut secrets: Vec<String> =
            secrets.into_iter().flat_map(forms).filter(|text| text.len() >= SECRET_MIN).collect();
        secrets.sort_by_key(|text| std::cmp::Reverse(text.len()));
        secrets.dedup();
        Self { parts: Vec::new(), secrets }
    }

    /// Adds a part. Of a very long one the beginning is kept, and the end says so.
    pub(crate) fn add(&mut self, name: &'static str, text: &str) {
        let mut text = self.redacted(text);
        if text.len() > PART_MAX {
            let end = (0..=PART_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(end);
            text.push_str("\n[cut here]\n");
        }
        self.parts.push((name, text));
    }

    /// The names of the parts.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.parts.iter().map(|(name, _)| *name)
    }

    fn redacted(&self, text: &str) -> String {
        let starred = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), STARS));
        // URLs in the words of others, each a word of its own.
        let is_around = |letter: char| letter.is_whitespace() || "\"'()[]{}<>,;".contains(letter);
        let mut shown = String::with_capacity(starred.len());
        for word in starred.split_inclusive(is_around) {
            let bare = word.trim_end_matches(is_around);
            let known = if bare.contains("://") { without_credentials(bare) } else { bare.to_owned() };
            shown.push_str(&known);
            shown.push_str(&word[bare.len()..]);
        }
        shown
    }

    /// Writes the archive: a POSIX (ustar) one, which every tar reads.
    pub(crate) fn write(&self, to: &mut impl Write, unix_s: u64) -> io::Result<()> {
        for (name, text) in &self.parts {
            to.write_all(&header(&format!("{FOLDER}/{name}"), text.len(), unix_s))?;
            to.write_all(text.as_bytes())?;
            to.write_all(&vec![0; text.len().next_multiple_of(BLOCK) - text.len()])?;
        }
        to.write_all(&[0; 2 * BLOCK])?;
        to.flush()
    }
}

/// The header of a file that only its owner may read. Our names are short, and parts far smaller than 8 GiB.
fn header(name: &str, bytes: usize, unix_s: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000600\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{bytes:011o}\0"));
    put(136, &format!("{:011o}\0", unix_s.min(0o777_7777_7777)));
    // The checksum counts itself as spaces.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\u{0}00");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_starred_wherever_they_are() {
        let secrets = [Secret::new("sesame"), Secret::new("a\"b\\c\n"), Secret::new("x")];
        let mut bundle = Bundle::new(&secrets);
        bundle.add("a", "open sesame, {\"p\":\"a\\\"b\\\\c\"} x redis://u:other@h:1/0?password=z, see tcp://h:2");
        let (_, text) = &bundle.parts[0];
        assert!(text.starts_with("open ***, {\"p\":\"***\"} x redis://***@h:1"), "{text}");
        assert!(text.ends_with("see tcp://h:2") && !text.contains("other"), "{text}");
    }

    #[test]
    fn a_long_part_is_cut_and_says_so() {
        let mut bundle = Bundle::new([]);
        bundle.add("a", &"ä".repeat(PART_MAX));
        assert!(bundle.parts[0].1.len() < PART_MAX + 20 && bundle.parts[0].1.ends_with("[cut here]\n"));
    }

    #[test]
    fn an_archive_has_whole_blocks_and_right_sums() {
        let mut bundle = Bundle::new([]);
        bundle.add("a.txt", "words\n");
        let mut archive = Vec::new();
        bundle.write(&mut archive, 1_795_970_000).expect("written");
        assert_eq!(archive.len(), 4 * BLOCK);
        assert!(archive.starts_with(b"startjobs-bundle/a.txt\0"));
        let told = std::str::from_utf8(&archive[148..154]).ok().and_then(|text| u32::from_str_radix(text, 8).ok());
        let counted = (0..BLOCK).map(|at| if (148..156).contains(&at) { 32 } else { u32::from(archive[at]) }).sum();
        assert_eq!(told, Some(counted));
    }
}
