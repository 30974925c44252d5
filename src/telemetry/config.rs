//! What the standard environment variables of OpenTelemetry say about traces. They are no settings of ours: the same ones
//! configure every service on a host.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use super::context::Sampler;

/// Every variable that is looked at, in the order of the documentation.
pub(super) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";

/// Where an OTLP collector takes traces, below its endpoint.
const PATH: &str = "/v1/traces";
/// What one variable may have.
const BYTES_MAX: usize = 8 << 10;
/// Headers, and attributes of the resource.
const PAIRS_MAX: usize = 64;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
const SERVICE_NAME_DEFAULT: &str = "startjobs";

/// Where traces go, and which.
#[derive(Clone)]
pub(crate) struct Config {
    pub(super) endpoint: Uri,
    /// Secret: they hold the credentials.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeout: Duration,
    pub(super) service: String,
    /// Further attributes of the resource.
    pub(super) resource: Vec<(String, String)>,
    pub(super) sampler: Sampler,
}

/// A variable that cannot be used. Its value is not shown: it may hold a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {what}")]
pub(crate) struct Problem {
    variable: &'static str,
    what: String,
}

impl Config {
    /// What the environment of this process says; nothing where traces are off.
    pub(crate) fn of_process() -> Result<Option<Self>, Vec<Problem>> {
        Self::read(&|name| std::env::var_os(name))
    }

    /// The same of any environment. Without an endpoint nothing else is looked at.
    fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<Self>, Vec<Problem>> {
        let mut reading = Reading { variable, problems: Vec::new() };
        if reading.is_disabled() {
            return reading.end(None);
        }
        let endpoint = reading.endpoint();
        if endpoint.is_none() && reading.problems.is_empty() {
            return Ok(None);
        }
        reading.protocol();
        let headers = reading.headers();
        let timeout = reading.timeout();
        let (service, resource) = reading.resource();
        let sampler = reading.sampler();
        reading.end(endpoint.map(|endpoint| Self { endpoint, headers, timeout, service, resource, sampler }))
    }
}

/// Where traces go, without what may be secret.
impl fmt::Display for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path) = (self.endpoint.scheme_str().unwrap_or("http"), self.endpoint.path());
        let authority = self.endpoint.authority().map_or("", |authority| authority.as_str());
        write!(formatter, "{scheme}://{authority}{path}, ")?;
        if self.sampler.follows_parent {
            write!(formatter, "as the job's traceparent says, and of jobs without one ")?;
        }
        write!(formatter, "{} %", self.sampler.ratio() * 100.0)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Config").field(&self.to_string()).finish()
    }
}

struct Reading<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn end(self, config: Option<Config>) -> Result<Option<Config>, Vec<Problem>> {
        if self.problems.is_empty() { Ok(config) } else { Err(self.problems) }
    }

    fn note(&mut self, variable: &'static str, what: impl Into<String>) {
        self.problems.push(Problem { variable, what: what.into() });
    }

    fn problem<T>(&mut self, variable: &'static str, what: impl Into<String>) -> Option<T> {
        self.note(variable, what);
        None
    }

    /// Its value; an empty one is none, as the specification has it.
    fn text(&mut self, variable: &'static str) -> Option<String> {
        let value = (self.variable)(variable).filter(|value| !value.is_empty())?;
        if value.len() > BYTES_MAX {
            return self.problem(variable, format!("has {} bytes, more than {BYTES_MAX}", value.len()));
        }
        match value.into_string() {
            Ok(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Err(_) => self.problem(variable, "is not UTF-8"),
        }
    }

    /// The first of these that is set.
    fn first(&mut self, variables: [&'static str; 2]) -> Option<(&'static str, String)> {
        variables.into_iter().find_map(|variable| Some((variable, self.text(variable)?)))
    }

    fn is_disabled(&mut self) -> bool {
        let is_disabled = self.text(SDK_DISABLED).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        match self.text(EXPORTER).as_deref() {
            None | Some("otlp") => is_disabled,
            Some("none") => true,
            Some(_) => {
                self.note(EXPORTER, "this program has only otlp: set it to otlp, or to none");
                false
            }
        }
    }

    fn endpoint(&mut self) -> Option<Uri> {
        if let Some(text) = self.text(TRACES_ENDPOINT) {
            return self.url(TRACES_ENDPOINT, &text);
        }
        let text = self.text(ENDPOINT)?;
        if text.contains(['?', '#']) {
            return self
                .problem(ENDPOINT, "has more than a path: such a URL belongs into OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        }
        self.url(ENDPOINT, &format!("{}{PATH}", text.trim_end_matches('/')))
    }

    fn url(&mut self, variable: &'static str, text: &str) -> Option<Uri> {
        let Ok(url) = text.parse::<Uri>() else {
            return self.problem(variable, "is no URL; one looks like http://collector:4318");
        };
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return self.problem(variable, "does not begin with http:// or https://");
        }
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return self.problem(variable, "holds credentials: put them into OTEL_EXPORTER_OTLP_HEADERS");
        }
        if url.host().is_none_or(str::is_empty) {
            return self.problem(variable, "names no host");
        }
        Some(url)
    }

    fn protocol(&mut self) {
        if let Some((variable, text)) = self.first(PROTOCOL)
            && text != "http/protobuf"
        {
            self.note(variable, "this program speaks http/protobuf only, usually to port 4318");
        }
    }

    fn headers(&mut self) -> Vec<(HeaderName, HeaderValue)> {
        let Some((variable, text)) = self.first(HEADERS) else { return Vec::new() };
        let header = |(name, value): (String, String)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((name.parse::<HeaderName>().ok()?, value))
        };
        let headers: Option<Vec<_>> = pairs(&text).and_then(|pairs| pairs.into_iter().map(header).collect());
        headers.or_else(|| self.problem(variable, NO_PAIRS)).unwrap_or_default()
    }

    fn timeout(&mut self) -> Duration {
        let Some((variable, text)) = self.first(TIMEOUT) else { return TIMEOUT_DEFAULT };
        match text.parse() {
            Ok(ms @ 1..) => Duration::from_millis(ms).min(TIMEOUT_MAX),
            _ => self.problem(variable, "is no number of milliseconds above 0").unwrap_or(TIMEOUT_DEFAULT),
        }
    }

    fn resource(&mut self) -> (String, Vec<(String, String)>) {
        let text = self.text(RESOURCE_ATTRIBUTES).unwrap_or_default();
        let mut resource = pairs(&text).or_else(|| self.problem(RESOURCE_ATTRIBUTES, NO_PAIRS)).unwrap_or_default();
        let named = resource.iter().rposition(|(key, _)| key == "service.name").map(|at| resource.swap_remove(at).1);
        resource.retain(|(key, _)| key != "service.name");
        let service = self.text(SERVICE_NAME).or(named);
        (service.unwrap_or_else(|| SERVICE_NAME_DEFAULT.to_owned()), resource)
    }

    fn sampler(&mut self) -> Sampler {
        let name = self.text(SAMPLER).unwrap_or_else(|| "parentbased_always_on".to_owned());
        let (follows_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name.as_str()),
        };
        let ratio = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.ratio(),
            _ => {
                let what = "is none of always_on, always_off, traceidratio, and these after parentbased_";
                self.problem(SAMPLER, what).unwrap_or(0.0)
            }
        };
        Sampler::of(follows_parent, ratio)
    }

    fn ratio(&mut self) -> f64 {
        let Some(text) = self.text(SAMPLER_ARG) else { return 1.0 };
        match text.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => self.problem(SAMPLER_ARG, "is no number from 0 to 1").unwrap_or(0.0),
        }
    }
}

const NO_PAIRS: &str = "is no list of the form name=value,name=value";

/// `name=value,name=value`, the values percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let name = name.trim();
        (!name.is_empty()).then_some((name.to_owned(), decoded(value.trim())?))
    };
    let pairs: Vec<_> = parts.map(pair).take(PAIRS_MAX + 1).collect::<Option<_>>()?;
    (pairs.len() <= PAIRS_MAX).then_some(pairs)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.as_bytes();
    while let Some((&byte, rest)) = left.split_first() {
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            left = after;
        } else {
            bytes.push(byte);
            left = rest;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Config>, Vec<Problem>> {
        Config::read(&|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(*value))
        })
    }

    fn on(variables: &[(&str, &str)]) -> Config {
        read(&[&[(ENDPOINT, "http://c:4318")], variables].concat()).expect("no problem").expect("traces are on")
    }

    #[test]
    fn traces_are_off_without_an_endpoint_and_where_they_are_disabled() {
        for off in [
            &[][..],
            &[(ENDPOINT, "")],
            &[(ENDPOINT, " ")],
            &[(SERVICE_NAME, "s"), (SAMPLER, "no such")],
            &[(ENDPOINT, "http://c"), (SDK_DISABLED, "TRUE")],
            &[(ENDPOINT, "http://c"), (EXPORTER, "none")],
        ] {
            assert!(read(off).expect("no problem").is_none(), "{off:?}");
        }
    }

    #[test]
    fn the_endpoint_of_traces_is_used_as_it_is_and_the_other_one_gets_the_path() {
        assert_eq!(on(&[]).endpoint, "http://c:4318/v1/traces");
        assert_eq!(on(&[(ENDPOINT, "unused"), (SDK_DISABLED, "false")]).endpoint, "http://c:4318/v1/traces");
        let both = [(TRACES_ENDPOINT, "https://t/own/path?key=k"), (ENDPOINT, "http://c/base/")];
        let config = read(&both).expect("no problem").expect("on");
        assert_eq!(config.endpoint, "https://t/own/path?key=k");
        assert_eq!(
            config.to_string(),
            "https://t/own/path, as the job's traceparent says, and of jobs without one 100 %"
        );
        assert_eq!(read(&both[1..]).expect("no problem").expect("on").endpoint, "http://c/base/v1/traces");
    }

    #[test]
    fn the_rest_has_defaults_and_is_read() {
        let config = on(&[]);
        assert_eq!((config.timeout, config.service.as_str()), (TIMEOUT_DEFAULT, "startjobs"));
        let config = on(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-unused=1"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Authorization=Bearer%20secret, x-a = b"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            (RESOURCE_ATTRIBUTES, "service.name=other,deployment.environment.name=prod%2Feu"),
            (SAMPLER, "traceidratio"),
            (SAMPLER_ARG, "0.25"),
        ]);
        let headers: Vec<_> = config.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("authorization", &b"Bearer secret"[..]), ("x-a", b"b")]);
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!((config.timeout, config.service.as_str()), (Duration::from_millis(250), "other"));
        assert_eq!(config.resource, [("deployment.environment.name".to_owned(), "prod/eu".to_owned())]);
        assert_eq!(config.sampler, Sampler::of(false, 0.25));
        assert_eq!(on(&[(SERVICE_NAME, "own"), (RESOURCE_ATTRIBUTES, "service.name=other")]).service, "own");
    }

    #[test]
    fn a_problem_names_its_variable_and_shows_no_value() {
        for (variable, value, what) in [
            (ENDPOINT, "collector:4318", "http://"),
            (ENDPOINT, "grpc://collector:4317", "http://"),
            (ENDPOINT, "http://user:secret@c", "OTEL_EXPORTER_OTLP_HEADERS"),
            (ENDPOINT, "http://a b", "no URL"),
            (ENDPOINT, "http://c?key=secret", "TRACES_ENDPOINT"),
            (TRACES_ENDPOINT, "secret", "http://"),
            (EXPORTER, "secret", "only otlp"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "name=value"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0a", "name=value"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%f", "name=value"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "milliseconds"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s", "milliseconds"),
            (RESOURCE_ATTRIBUTES, "=secret", "name=value"),
            (SAMPLER, "secret", "parentbased_"),
            (SERVICE_NAME, &"x".repeat(9000), "9000 bytes"),
        ] {
            let mut variables = vec![(variable, value)];
            if variable != ENDPOINT {
                variables.push((ENDPOINT, "http://c"));
            }
            let problems = read(&variables).expect_err(variable);
            let [problem] = problems.as_slice() else { panic!("{variable}: {problems:?}") };
            let text = problem.to_string();
            assert!(text.starts_with(variable) && text.contains(what) && !text.contains("secret"), "{text}");
        }
        for ratio in ["-1", "1.5", "nan", "much"] {
            let sampler = [(ENDPOINT, "http://c"), (SAMPLER, "parentbased_traceidratio"), (SAMPLER_ARG, ratio)];
            assert_eq!(read(&sampler).expect_err(ratio)[0].variable, SAMPLER_ARG);
        }
        let many = (0..=PAIRS_MAX).map(|n| format!("a{n}=b")).collect::<Vec<_>>().join(",");
        assert!(
            read(&[(ENDPOINT, "http://c"), (RESOURCE_ATTRIBUTES, &many), (SAMPLER, "x")]).expect_err("two").len() == 2
        );
    }
}
