//! Where the policy is.

/// Where the policy is.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `policy-file`; none: every image may run, and gets what containers get by default.
    pub(crate) file: Option<String>,
}
