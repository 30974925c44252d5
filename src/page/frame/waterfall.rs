//! The course of one job from left to right: waiting, attempts, pauses. Shapes alone; every word is beside the picture.

use maud::{Markup, PreEscaped, html};

use crate::page::when::lasting;

/// Width and height that the shapes are drawn in; they stretch.
const WIDTH: u64 = 1_000;
const HEIGHT: u64 = 34;
/// What is shorter is drawn so wide.
const WIDTH_MIN: u64 = 3;
/// Stretches that are drawn.
const STRETCHES_MAX: usize = 120;
/// Marks of time below.
const MARKS: u64 = 3;

/// What a stretch of time was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No replica had it.
    Waited,
    /// A replica had it, and it began or was answered.
    Worked,
    /// An attempt that failed.
    Failed,
    /// The replica that had it died.
    Lost,
    /// The pause before the next attempt.
    Paused,
}

impl Kind {
    /// Class, upper edge, height, and words of the key.
    fn drawn(self) -> (&'static str, u64, u64, &'static str) {
        match self {
            Self::Waited => ("w-wait", 8, 18, "in no replica\u{2019}s hands"),
            Self::Worked => ("w-work", 6, 22, "in hand"),
            Self::Failed => ("w-fail", 2, 30, "until an attempt failed"),
            Self::Lost => ("w-lost", 6, 22, "until its replica died"),
            Self::Paused => ("w-pause", 14, 6, "pause"),
        }
    }

    const ALL: [Self; 5] = [Self::Waited, Self::Worked, Self::Failed, Self::Lost, Self::Paused];
}

/// A stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// What it was.
    pub(crate) kind: Kind,
    /// From when, Unix milliseconds.
    pub(crate) from_ms: u64,
    /// Until when.
    pub(crate) to_ms: u64,
    /// What is said of it.
    pub(crate) said: String,
}

/// The picture; nothing where no time has passed. The stretches are in order and do not overlap.
pub(crate) fn waterfall(stretches: &[Stretch]) -> Markup {
    let Some((from, to)) = stretches.first().zip(stretches.last()).map(|(first, last)| (first.from_ms, last.to_ms))
    else {
        return html! {};
    };
    let whole = to.saturating_sub(from);
    if whole == 0 {
        return html! {};
    }
    let kinds = Kind::ALL.into_iter().filter(|&kind| stretches.iter().any(|one| one.kind == kind));
    html! {
        div.pad {
            svg.fall viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                aria-label={ (lasting(whole)) " from left to right; the list below tells the same in words" } {
                @for one in stretches.iter().take(STRETCHES_MAX) { (shape(one, from, whole)) }
            }
            div.fall-x aria-hidden="true" {
                @for mark in 0..=MARKS { span { (lasting(whole * mark / MARKS)) } }
            }
            ul.key {
                @for kind in kinds {
                    @let (class, _, height, words) = kind.drawn();
                    li {
                        svg aria-hidden="true" viewBox="0 0 18 10" { (rect(class, (1, 5 - height / 6), (16, height / 3), "")) }
                        (words)
                    }
                }
            }
        }
    }
}

fn shape(one: &Stretch, from: u64, whole: u64) -> Markup {
    let at = |ms: u64| ms.saturating_sub(from).min(whole) * WIDTH / whole;
    let (class, y, height, _) = one.kind.drawn();
    let width = at(one.to_ms).saturating_sub(at(one.from_ms)).max(WIDTH_MIN);
    let x = at(one.from_ms).min(WIDTH - WIDTH_MIN);
    rect(class, (x, y), (width.min(WIDTH - x), height), &format!("{}, {}", one.said, lasting(one.to_ms - one.from_ms)))
}

fn rect(class: &str, (x, y): (u64, u64), (width, height): (u64, u64), title: &str) -> Markup {
    html! {
        (PreEscaped(format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\">")))
        @if !title.is_empty() { title { (title) } }
        (PreEscaped("</rect>"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_stay_inside_of_the_picture_and_nothing_is_too_thin_to_be_seen() {
        let stretch = |kind, from_ms, to_ms| Stretch { kind, from_ms, to_ms, said: "<b>".to_owned() };
        let stretches = [
            stretch(Kind::Waited, 1_000, 1_001),
            stretch(Kind::Failed, 1_001, 9_999),
            stretch(Kind::Paused, 9_999, 10_000),
        ];
        let drawn = waterfall(&stretches).into_string();
        assert!(drawn.contains("x=\"0\" y=\"8\" width=\"3\""), "{drawn}");
        assert!(drawn.contains("x=\"997\" y=\"14\" width=\"3\""), "{drawn}");
        assert!(drawn.contains("&lt;b&gt;, 8.9 s</title>") && drawn.contains("<span>9.0 s</span>"), "{drawn}");
        assert!(!drawn.contains("<text") && !drawn.contains("style="), "words are beside the picture: {drawn}");
        assert_eq!(drawn.matches("<li>").count(), 3, "the key has what is drawn: {drawn}");
        for nothing in [&[][..], &[stretch(Kind::Waited, 5, 5)][..]] {
            assert_eq!(waterfall(nothing).into_string(), "");
        }
    }
}
