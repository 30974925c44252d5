//! Why a worker cannot run at all.

/// Why a worker cannot run at all; everything else is waited out.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The legacy offset is no entry id; a guess could skip or repeat jobs.
    #[error(
        "{0}, which is no stream entry id: set it to the id of the last answered entry, or delete it to begin at the start of the stream"
    )]
    BadOffset(String),
    /// `strict` is on, and the server may lose data.
    #[error("strict is on, and this Redis may lose data:\n  {0}")]
    Strict(String),
    /// A file that the settings name is wrong.
    #[error("{0}")]
    BadFile(String),
    /// The settings do not make a connection.
    #[error("cannot connect: {0}")]
    Unusable(String),
}
