//! Where settings come from: flag > environment > file > default. Here they are only texts, each with its origin.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use super::file;
use super::raw::{Origin, Raw};
use super::report::Problem;
use super::table::{DefaultValue, TABLE};
use crate::nearest::nearest;

/// Values by setting name.
pub type Values = BTreeMap<&'static str, String>;

/// Docker's own variable, which its command line obeys too.
const DOCKER_HOST: &str = "DOCKER_HOST";
/// Docker's own switch for TLS, its folder of certificates, and where those are unless told otherwise.
const DOCKER_TLS_VERIFY: &str = "DOCKER_TLS_VERIFY";
const DOCKER_CERT_PATH: &str = "DOCKER_CERT_PATH";
/// Our settings and the files that Docker's conventions name.
const DOCKER_TLS: [(&str, &str); 3] =
    [("docker-tls-ca-file", "ca.pem"), ("docker-tls-cert-file", "cert.pem"), ("docker-tls-key-file", "key.pem")];
/// Where a Docker Engine listens unless told otherwise.
const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";

/// All that was given, before anything of it is understood.
pub(super) struct Collected {
    /// The text of every setting, except those that were not given and have a computed default.
    pub(super) values: BTreeMap<&'static str, Raw>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

/// The flags and the environment of one invocation, and the defaults that its command brings along.
pub struct Sources {
    flags: Values,
    environment: BTreeMap<OsString, OsString>,
    defaults: Values,
}

impl fmt::Debug for Sources {
    /// Names alone: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("flags", &self.flags.keys()).finish_non_exhaustive()
    }
}

impl Sources {
    /// Flags that were given, and an environment.
    pub fn new<K, V>(flags: Values, environment: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let environment = environment.into_iter().map(|(variable, value)| (variable.into(), value.into())).collect();
        Self { flags, environment, defaults: Values::new() }
    }

    /// Flags, and the environment of this process.
    pub(crate) fn of_process(flags: Values) -> Self {
        Self::new(flags, std::env::vars_os())
    }

    /// Replaces the default of one setting: some commands work on streams of their own unless told otherwise.
    #[must_use]
    pub fn with_default(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.defaults.insert(name, text.into());
        self
    }

    /// Reads everything there is, by precedence.
    pub(super) fn collect(&self) -> Collected {
        let mut collected = Collected { values: BTreeMap::new(), problems: Vec::new(), warnings: Vec::new() };
        for row in TABLE {
            let raw =
                self.flag(row.name).or_else(|| self.variable(row.name, row.environment(), &mut collected.problems));
            if let Some(raw) = raw {
                collected.values.insert(row.name, raw);
            }
        }
        if let Some(config) = collected.values.get("config").cloned()
            && config.text != "none"
        {
            let read = file::read(&config);
            collected.problems.extend(read.problems);
            for (name, raw) in read.values {
                collected.values.entry(name).or_insert(raw);
            }
        }
        self.fill_in(&mut collected);
        collected.warnings = self.mistyped();
        collected
    }

    fn flag(&self, name: &'static str) -> Option<Raw> {
        let text = self.flags.get(name)?;
        Some(Raw { text: text.trim().to_owned(), origin: Origin::Flag(name) })
    }

    /// An environment variable; one that is set but empty counts as not set, because that is how one is cleared in
    /// a compose or unit file. Not that of the policy: without one every image may run.
    fn variable(&self, setting: &str, variable: String, problems: &mut Vec<Problem>) -> Option<Raw> {
        let value = self.environment.get(&OsString::from(&variable))?;
        if value.is_empty() && setting != "policy-file" {
            return None;
        }
        let origin = Origin::Environment(variable);
        if let Some(text) = value.to_str() {
            return Some(Raw { text: text.trim().to_owned(), origin });
        }
        problems.push(Problem {
            setting: setting.to_owned(),
            value: None,
            origin,
            advice: "is not valid UTF-8; set it again".to_owned(),
        });
        None
    }

    /// Defaults for what was not given.
    fn fill_in(&self, collected: &mut Collected) {
        if !collected.values.contains_key("docker-host") {
            let raw = self
                .variable("docker-host", DOCKER_HOST.to_owned(), &mut collected.problems)
                .unwrap_or_else(|| Raw::default(DOCKER_SOCKET));
            collected.values.insert("docker-host", raw);
        }
        self.fill_in_docker_tls(collected);
        for row in TABLE {
            let default = match (self.defaults.get(row.name), row.default) {
                (Some(own), _) => own.as_str(),
                (None, DefaultValue::Text(text)) => text,
                (None, DefaultValue::Computed(_)) => continue,
            };
            collected.values.entry(row.name).or_insert_with(|| Raw::default(default));
        }
    }

    /// Docker's own variables, where an engine behind TCP is meant and nothing of ours says how it is encrypted.
    fn fill_in_docker_tls(&self, collected: &mut Collected) {
        let is_tcp = collected.values.get("docker-host").is_some_and(|host| host.text.starts_with("tcp://"));
        if !is_tcp || DOCKER_TLS.iter().any(|(name, _)| collected.values.contains_key(name)) {
            return;
        }
        let problems = &mut collected.problems;
        // As with Docker: any text turns it on.
        if self.variable(DOCKER_TLS[0].0, DOCKER_TLS_VERIFY.to_owned(), problems).is_none() {
            return;
        }
        let mut named = |variable: &str| self.variable(DOCKER_TLS[0].0, variable.to_owned(), problems);
        // Never without TLS because a folder is not known: then the missing file is the problem.
        let below = |home: Option<Raw>| Raw {
            text: format!("{}.docker", home.map_or_else(String::new, |home| home.text + "/")),
            origin: Origin::Environment(DOCKER_TLS_VERIFY.to_owned()),
        };
        let folder = named(DOCKER_CERT_PATH).or_else(|| named("DOCKER_CONFIG"));
        let folder = folder.unwrap_or_else(|| below(named("HOME")));
        for (name, file) in DOCKER_TLS {
            let path = Path::new(&folder.text).join(file);
            // As with Docker: an engine may demand no client certificate.
            if file == "ca.pem" || path.exists() {
                let text = path.to_string_lossy().into_owned();
                collected.values.insert(name, Raw { text, origin: folder.origin.clone() });
            }
        }
    }

    /// Variables of ours that name no setting but nearly do. Only a warning: Kubernetes itself sets variables that
    /// begin with the name of a service.
    fn mistyped(&self) -> Vec<String> {
        let known: Vec<String> = TABLE.iter().map(|row| row.name.to_owned()).collect();
        let mut warnings = Vec::new();
        for variable in self.environment.keys().filter_map(|variable| variable.to_str()) {
            let Some(name) = variable.strip_prefix("STARTJOBS_") else {
                continue;
            };
            let name = name.to_lowercase().replace('_', "-");
            if known.contains(&name) {
                continue;
            }
            if let Some(near) = nearest(&name, known.iter().map(String::as_str)) {
                let near = near.to_uppercase().replace('-', "_");
                warnings.push(format!(
                    "environment variable {variable} is not a setting and is ignored; did you mean STARTJOBS_{near}?"
                ));
            }
        }
        warnings
    }
}
