//! The settings of replicas that run on this machine for a demonstration.

use crate::settings::{Report, Settings, Sources, Values};

/// Settings of these names and values, and defaults: nothing of the user's environment.
pub(super) fn settings_of(pairs: &[(String, String)]) -> Result<Settings, Report> {
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    let environment = pairs.iter().map(|(name, value)| (variable(name), value.clone()));
    Settings::load(&Sources::new(Values::new(), environment)).map(|loaded| loaded.settings)
}

/// Names and values of settings, from texts.
pub(super) fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
