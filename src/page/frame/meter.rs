//! How full something is. The words beside it say the same, so it is for eyes alone.

use maud::{Markup, PreEscaped, html};

/// `used` of `all`; full is another colour.
pub(crate) fn meter(used: u64, all: u64) -> Markup {
    let share = used.min(all).saturating_mul(1_000).checked_div(all).unwrap_or_default();
    let hot = if all > 0 && used >= all { " hot" } else { "" };
    let width = format!("{}.{}", share / 10, share % 10);
    html! {
        svg.meter viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            (PreEscaped(format!(
                "<rect class=\"mt\" width=\"100\" height=\"6\"/>\
                 <rect class=\"mf{hot}\" width=\"{width}\" height=\"6\"/>"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_long_as_its_share_and_never_longer() {
        assert!(meter(9, 64).into_string().contains("class=\"mf\" width=\"14.0\""));
        assert!(meter(99, 64).into_string().contains("class=\"mf hot\" width=\"100.0\""));
        assert!(meter(u64::MAX, 0).into_string().contains("class=\"mf\" width=\"0.0\""));
    }
}
