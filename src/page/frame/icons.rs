//! Shapes that say the same as the words beside them. Drawn on 24 by 24, as lines.

use maud::{Markup, PreEscaped, html};

use super::tone::Tone;

/// A shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    /// The program.
    Logo,
    /// All is well.
    Ok,
    /// Attention.
    Warn,
    /// Bad.
    Crit,
    /// Held.
    Hold,
    /// Waits.
    Wait,
    /// Runs.
    Run,
    /// Is tried again.
    Retry,
    /// A dead letter.
    Dead,
    /// Gone without signing off.
    Lost,
    /// Taken over.
    Take,
    /// A person.
    User,
    /// Not known.
    Unknown,
    /// Search.
    Find,
    /// Came in.
    In,
    /// About to.
    Soon,
    /// Stops by itself.
    Drain,
}

impl Icon {
    /// Every shape: its name in the page, and its lines.
    const ALL: [(Self, &'static str, &'static str); 17] = [
        (Self::Logo, "logo", "M3 7h8M3 12h11M3 17h8M15 6l6 6-6 6"),
        (Self::Ok, "ok", "M3 12a9 9 0 1 0 18 0a9 9 0 1 0-18 0M7.5 12.5l3 3l6-6.5"),
        (Self::Warn, "warn", "M12 4L21.5 20H2.5ZM12 10v4.5M12 17v.2"),
        (Self::Crit, "crit", "M8.3 3h7.4L21 8.3v7.4L15.7 21H8.3L3 15.7V8.3ZM9 9l6 6M15 9l-6 6"),
        (Self::Hold, "hold", "M5 4h14v16H5ZM10 9v6M14 9v6"),
        (Self::Wait, "wait", "M3 12a9 9 0 1 0 18 0a9 9 0 1 0-18 0M12 7v5l3.5 2.5"),
        (Self::Run, "run", "M7 5v14l12-7Z"),
        (Self::Retry, "retry", "M19.5 13a7.5 7.5 0 1 1-2-6.3M19 3v4.5h-4.5"),
        (Self::Dead, "dead", "M4 5h16v14H4ZM4 9h16M9.7 11.7l4.6 4.6M14.3 11.7l-4.6 4.6"),
        (
            Self::Lost,
            "lost",
            "M12 3a9 9 0 0 1 6 2.3M20.5 9a9 9 0 0 1 0 6M18 18.7a9 9 0 0 1-12 0M3.5 15a9 9 0 0 1 0-6\
             M6 5.3A9 9 0 0 1 9 3.5M9.5 9.5l5 5M14.5 9.5l-5 5",
        ),
        (Self::Take, "take", "M4 7h11a5 5 0 0 1 0 10H7M10.5 13.5L7 17l3.5 3.5"),
        (Self::User, "user", "M8 8a4 4 0 1 0 8 0a4 4 0 1 0-8 0M4.5 20c1-3.8 4-5 7.5-5s6.5 1.2 7.5 5"),
        (
            Self::Unknown,
            "unknown",
            "M3 12a9 9 0 1 0 18 0a9 9 0 1 0-18 0M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8\
             M12 16.5v.2",
        ),
        (Self::Find, "find", "M4 10.5a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0-13 0M15.5 15.5L20.5 20.5"),
        (Self::In, "in", "M12 4v11M7.5 10.5L12 15l4.5-4.5M4 20h16"),
        (Self::Soon, "soon", "M12 6v6l4 2M12 3a9 9 0 1 1-8.5 6M3 4v5h5"),
        (Self::Drain, "drain", "M12 3v10M8 9.5L12 13.5l4-4M5 17a7.5 7.5 0 0 0 14 0"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(icon, ..)| *icon == self).map_or("unknown", |(_, name, _)| name)
    }
}

/// All shapes, once a page; hidden.
pub(crate) fn sprite() -> Markup {
    html! {
        svg.sprite aria-hidden="true" focusable="false" {
            @for (_, name, lines) in Icon::ALL {
                (PreEscaped(format!("<symbol id=\"i-{name}\" viewBox=\"0 0 24 24\"><path d=\"{lines}\"/></symbol>")))
            }
        }
    }
}

/// One shape.
pub(crate) fn icon(icon: Icon) -> Markup {
    html! { svg.i aria-hidden="true" focusable="false" { (used(icon)) } }
}

/// One shape in a colour.
pub(crate) fn inked(icon: Icon, tone: Tone) -> Markup {
    html! { svg class={ "i " (tone.ink()) } aria-hidden="true" focusable="false" { (used(icon)) } }
}

fn used(icon: Icon) -> Markup {
    PreEscaped(format!("<use href=\"#i-{}\"/>", icon.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_in_the_sprite_under_its_name() {
        let sprite = sprite().into_string();
        for (icon, name, _) in Icon::ALL {
            assert!(sprite.contains(&format!("id=\"i-{name}\"")) && icon.name() == name, "{name}");
        }
    }
}
