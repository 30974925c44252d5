//! The user's Docker Engine: where it is, whatever else the environment says.

use std::ffi::OsString;

use crate::embedded::process::own_variables;
use crate::settings::{Loaded, Report, Settings, Sources, Values};
use crate::tls::Tls;

/// The variables that say where the user's Docker Engine is and how it is reached: ours, and Docker's own.
const DOCKER_VARIABLES: [&str; 4] = [
    "STARTJOBS_DOCKER_HOST",
    "STARTJOBS_DOCKER_TLS_CA_FILE",
    "STARTJOBS_DOCKER_TLS_CERT_FILE",
    "STARTJOBS_DOCKER_TLS_KEY_FILE",
];
const DOCKERS_OWN_VARIABLES: [&str; 5] =
    ["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG", "HOME"];

/// The user's Docker Engine.
pub(super) struct UsersDocker {
    /// Where it answers.
    pub(super) host: String,
    /// How the connection is encrypted.
    pub(super) tls: Option<Tls>,
    /// Both as settings of a replica.
    pub(super) settings: Vec<(String, String)>,
}

/// Where the user's Docker Engine answers, whatever else the environment says.
pub(super) fn find() -> Result<UsersDocker, Report> {
    let wanted = DOCKER_VARIABLES.iter().chain(&DOCKERS_OWN_VARIABLES);
    let environment = wanted.filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    let engine = Values::from([("engine", "docker".to_owned())]);
    let Loaded { settings, resolved, .. } = Settings::load(&Sources::new(engine, environment))?;
    let of_docker =
        resolved.into_iter().filter(|setting| setting.name.starts_with("docker-") && setting.value != "none");
    let settings_of_replicas = of_docker.map(|setting| (setting.name.to_owned(), setting.value)).collect();
    let engine = settings.engine;
    Ok(UsersDocker { host: engine.docker_host, tls: engine.docker_tls, settings: settings_of_replicas })
}

/// Names the settings in the environment that a fleet on this machine does not use.
pub(super) fn warn_of_ignored_variables() {
    let names: Vec<String> = own_variables()
        .filter(|name| !DOCKER_VARIABLES.iter().any(|one| name == one))
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    if !names.is_empty() {
        super::output::note(&format!("this fleet does not use {}, which your environment sets", names.join(", ")));
    }
}
