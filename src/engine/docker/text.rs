//! Foreign text made fit for an outcome: no control characters, bounded.

/// The most bytes a message or a log tail may have.
pub(super) const TEXT_BYTES_MAX: usize = 1024;

/// The text with control characters replaced by spaces, trimmed, cut to [`TEXT_BYTES_MAX`] at its end.
pub(super) fn tidy(text: &str) -> String {
    let mut tidied = replace_controls(text).trim().to_owned();
    if tidied.len() > TEXT_BYTES_MAX {
        let mut end = TEXT_BYTES_MAX;
        while !tidied.is_char_boundary(end) {
            end -= 1;
        }
        tidied.truncate(end);
    }
    tidied
}

/// The last bytes of a log, line breaks kept, every other control character replaced.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// Appends what the container wrote next; what is too old to be shown is forgotten.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        let kept = &chunk[chunk.len().saturating_sub(TEXT_BYTES_MAX)..];
        let excess = (self.bytes.len() + kept.len()).saturating_sub(TEXT_BYTES_MAX);
        self.bytes.drain(..excess.min(self.bytes.len()));
        self.bytes.extend_from_slice(kept);
    }

    /// The tail as text of at most `lines_max` lines and [`TEXT_BYTES_MAX`] bytes.
    pub(super) fn into_text(self, lines_max: usize) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines: Vec<String> = text.lines().map(|line| replace_controls(line.trim_end())).collect();
        let text = lines[lines.len().saturating_sub(lines_max)..].join("\n");
        // Each broken byte has become a replacement character of three bytes.
        let mut start = text.len().saturating_sub(TEXT_BYTES_MAX);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text[start..].trim().to_owned()
    }
}

fn replace_controls(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_controls_and_excess() {
        assert_eq!(tidy("  no\r\nsuch\u{1b}[31m image\u{0}\n"), "no  such [31m image");
        assert_eq!(tidy(&"é".repeat(TEXT_BYTES_MAX)).len(), TEXT_BYTES_MAX);
        assert_eq!(tidy(&format!("x{}", "é".repeat(TEXT_BYTES_MAX))).len(), TEXT_BYTES_MAX - 1);
    }

    #[test]
    fn a_tail_keeps_the_last_lines() {
        let mut tail = Tail::default();
        for line in 1..=12 {
            tail.push(format!("line {line}\r\n").as_bytes());
        }
        assert_eq!(tail.into_text(2), "line 11\nline 12");
    }

    #[test]
    fn a_tail_is_bounded_whatever_is_pushed() {
        for chunk in [&b"\xff"[..], b"a", b"\x07\x1b]0;title\x07", "é\n".as_bytes()] {
            let mut tail = Tail::default();
            tail.push(&chunk.repeat(5000));
            tail.push(chunk);
            let text = tail.into_text(10);
            assert!(text.len() <= TEXT_BYTES_MAX);
            assert!(text.chars().all(|char| char == '\n' || !char.is_control()));
        }
        assert_eq!(Tail::default().into_text(10), "");
    }
}
