//! Times on the page: how long ago by the server's clock, or absolute for those who ask for it.

use maud::{Markup, html};

use crate::ops::printable::time;

/// How times are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    /// The server's clock, Unix milliseconds, when what is shown was seen.
    pub(crate) now_ms: u64,
    /// Absolute, instead of how long ago.
    pub(crate) utc: bool,
}

impl When {
    /// A moment, in Unix milliseconds. What is shown relatively has its absolute time as title, and the other way
    /// round.
    pub(crate) fn at(self, at_ms: u64) -> Markup {
        self.told(at_ms, |relative| relative)
    }

    /// A moment since which something is so: `for 3 min`.
    pub(crate) fn since(self, at_ms: u64) -> Markup {
        if self.utc {
            return html! { "since " (self.at(at_ms)) };
        }
        let text = format!("for {}", lasting(self.now_ms.saturating_sub(at_ms)));
        html! { time datetime=(time(at_ms)) title=(absolute(at_ms)) data-for { (text) } }
    }

    /// A moment whose time of day matters: `02:53:05 UTC`. Its title is the whole of it.
    pub(crate) fn exactly(self, at_ms: u64) -> Markup {
        html! { time datetime=(time(at_ms)) title=(absolute(at_ms)) { (of_day(self.now_ms, at_ms)) } }
    }

    fn told(self, at_ms: u64, words: impl FnOnce(String) -> String) -> Markup {
        let relative = words(relative(self.now_ms, at_ms));
        let (text, title) = if self.utc { (absolute(at_ms), relative) } else { (relative, absolute(at_ms)) };
        // The script counts on what is relative.
        html! { time datetime=(time(at_ms)) title=(title) data-ago[!self.utc] { (text) } }
    }
}

/// `3 min ago`, or `in 3 min`.
fn relative(now_ms: u64, at_ms: u64) -> String {
    if at_ms > now_ms { format!("in {}", lasting(at_ms - now_ms)) } else { format!("{} ago", lasting(now_ms - at_ms)) }
}

/// `2026-11-28 02:55:10 UTC`
pub(crate) fn absolute(at_ms: u64) -> String {
    let text = time(at_ms);
    match text.get(..19) {
        Some(seconds) if text.ends_with('Z') => format!("{} UTC", seconds.replace('T', " ")),
        _ => text,
    }
}

/// The time of day to the second, `02:53:05 UTC`; with its date where it is longer ago than half a day.
pub(crate) fn of_day(now_ms: u64, at_ms: u64) -> String {
    const HALF_A_DAY_MS: u64 = 12 * 3_600_000;
    let whole = absolute(at_ms);
    match whole.get(11..) {
        Some(time) if now_ms.abs_diff(at_ms) < HALF_A_DAY_MS && !time.is_empty() => time.to_owned(),
        _ => whole,
    }
}

/// The time of day: `02:55`.
pub(crate) fn clock(at_ms: u64) -> String {
    time(at_ms).get(11..16).unwrap_or_default().to_owned()
}

/// A duration in the one or two units that matter.
pub(crate) fn lasting(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match seconds {
        0 => format!("{ms} ms"),
        1..10 => format!("{seconds}.{} s", ms % 1_000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min"),
        3_600..86_400 if minutes % 60 == 0 => format!("{hours} h"),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        86_400.. => format!("{} d", hours / 24),
    }
}

/// The HTML without the words inside of its `time` elements, which change by themselves.
pub(crate) fn unclocked(html: &str) -> String {
    let mut kept = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, tail)) = rest.split_once("<time ") {
        kept.push_str(before);
        let (tag, inside) = tail.split_once('>').unwrap_or((tail, ""));
        kept.push_str(tag);
        rest = inside.split_once("</time>").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_units_that_matter() {
        let spans = [7, 2_149, 42_000, 59_999, 61_000, 3_600_000, 11_520_000, 400_000_000].map(lasting);
        assert_eq!(spans, ["7 ms", "2.1 s", "42 s", "59 s", "1 min", "1 h", "3 h 12 min", "4 d"]);
        assert_eq!((clock(0), absolute(0)), ("00:00".to_owned(), "1970-01-01 00:00:00 UTC".to_owned()));
        assert!(absolute(u64::MAX).ends_with("ms"), "a time beyond the calendar");
        assert_eq!(
            (of_day(5, 61_000).as_str(), of_day(0, 90_000_000).as_str()),
            ("00:01:01 UTC", "1970-01-02 01:00:00 UTC")
        );
    }

    #[test]
    fn a_time_says_both_and_counts_on_only_where_it_is_relative() {
        let shown = |utc| When { now_ms: 90_000, utc }.at(30_000).into_string();
        assert!(
            shown(false).contains("title=\"1970-01-01 00:00:30 UTC\" data-ago>1 min ago</time>"),
            "{}",
            shown(false)
        );
        assert!(shown(true).contains("title=\"1 min ago\">1970-01-01 00:00:30 UTC</time>"), "{}", shown(true));
        assert!(When { now_ms: 0, utc: false }.at(3_000).into_string().contains("in 3.0 s"));
    }

    #[test]
    fn what_only_counts_on_is_no_change() {
        let at = |now_ms| html! { p { "a " (When { now_ms, utc: false }.at(1_000)) " b" } }.into_string();
        assert_ne!(at(5_000), at(9_000));
        assert_eq!(unclocked(&at(5_000)), unclocked(&at(9_000)));
        assert_eq!(unclocked("<p>x</p>"), "<p>x</p>");
    }
}
