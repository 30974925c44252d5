//! Colours of states. A colour never says anything alone: an icon and a word are always beside it.

/// The colour of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Good.
    Ok,
    /// Wrong, and not yet bad.
    Warn,
    /// Bad.
    Crit,
    /// On its way.
    Info,
    /// Held by an operator.
    Hold,
    /// Not known, or of no meaning.
    None,
}

impl Tone {
    /// The class of a surface in this colour.
    pub(crate) fn surface(self) -> &'static str {
        match self {
            Self::Ok => "t-ok",
            Self::Warn => "t-warn",
            Self::Crit => "t-crit",
            Self::Info => "t-info",
            Self::Hold => "t-hold",
            Self::None => "t-none",
        }
    }

    /// The class of a word or icon in this colour.
    pub(crate) fn ink(self) -> &'static str {
        match self {
            Self::Ok => "i-ok",
            Self::Warn => "i-warn",
            Self::Crit => "i-crit",
            Self::Info => "i-info",
            Self::Hold => "i-hold",
            Self::None => "i-none",
        }
    }
}
