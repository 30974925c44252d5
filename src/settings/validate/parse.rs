//! Texts to values. An error is the rest of a sentence that begins with the setting and its value.

use std::net::SocketAddr;
use std::time::Duration;

use crate::engine::Readiness;
use crate::faults::Point;
use crate::quantity::{self, any_duration, duration};
use crate::secret::without_credentials;
use crate::settings::url::host_and_port;

/// Any text that is not empty.
pub(super) fn text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters".to_owned());
    }
    if without_credentials(text) != text {
        // Kept, it would be a password in every log line that names this setting.
        return Err("is a URL with credentials; was it meant for another setting?".to_owned());
    }
    Ok(text.to_owned())
}

/// A whole number within limits.
pub(super) fn number<T: TryFrom<u64>>(text: &str, min: u64, max: u64) -> Result<T, String> {
    let limits = if max >= i64::MAX.unsigned_abs() {
        format!("must be a whole number of at least {min}")
    } else {
        format!("must be a whole number from {min} to {max}")
    };
    let number: u64 = text.parse().map_err(|_| limits.clone())?;
    if !(min..=max).contains(&number) {
        return Err(limits);
    }
    T::try_from(number).map_err(|_| limits)
}

/// A number of bytes, bare or with a binary unit.
pub(super) fn size(text: &str, min: u64, max: u64) -> Result<usize, String> {
    let bytes = quantity::size(text, min, max)?;
    usize::try_from(bytes).map_err(|_| "is more than this machine can count".to_owned())
}

/// A duration that is more than zero, or `off`.
pub(super) fn optional_duration(text: &str) -> Result<Option<Duration>, String> {
    if is_off(text) {
        return Ok(None);
    }
    match duration(text, Duration::from_millis(1), "") {
        Ok(duration) => Ok(Some(duration)),
        Err(advice) => Err(format!("{advice}; or write off")),
    }
}

/// `40ms`, or `20ms..80ms`.
pub(super) fn latency(text: &str) -> Result<(Duration, Duration), String> {
    let Some((shortest, longest)) = text.split_once("..") else {
        let always = any_duration(text)?;
        return Ok((always, always));
    };
    let (shortest, longest) = (any_duration(shortest.trim())?, any_duration(longest.trim())?);
    if shortest > longest {
        return Err("must have its shorter duration first".to_owned());
    }
    Ok((shortest, longest))
}

/// A number from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must be a share from 0 to 1, such as 0.05".to_owned()),
    }
}

/// The words people use for on and off.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err("must be on or off".to_owned()),
    }
}

/// One of these words.
pub(super) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(format!("must be {}", words.join(" or ")))
}

/// `off` or an address to listen on.
pub(super) fn http_addr(text: &str) -> Result<Option<SocketAddr>, String> {
    if is_off(text) {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        "is not an address to listen on; write one with its port, such as 127.0.0.1:9100 or 0.0.0.0:9100, or off"
            .to_owned()
    })
}

/// `tcp`, `http:/path` or `health`.
pub(super) fn readiness(text: &str) -> Result<Readiness, String> {
    let printable = |path: &str| path.chars().all(|letter| letter.is_ascii_graphic());
    match text {
        "tcp" => Ok(Readiness::Tcp),
        "health" => Ok(Readiness::Health),
        _ => match text.strip_prefix("http:") {
            Some(path) if path.starts_with("//") => {
                Err("must name a path alone, without a host, such as http:/healthz".to_owned())
            }
            Some(path) if path.starts_with('/') && printable(path) => Ok(Readiness::Http(path.to_owned())),
            _ => Err("must be tcp, health or http:/PATH, such as http:/healthz".to_owned()),
        },
    }
}

/// `none` or one of the crash points.
pub(super) fn point(text: &str) -> Result<Option<Point>, String> {
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let known: Vec<&str> = Point::ALL.iter().map(|point| point.as_str()).collect();
        format!("is not a point; the points are {}", known.join(", "))
    })
}

/// `unix:///PATH` or `tcp://HOST:PORT`.
pub(super) fn docker_host(text: &str) -> Result<String, String> {
    const FORMS: &str = "write unix:///PATH or tcp://HOST:PORT";
    if let Some(path) = text.strip_prefix("unix://") {
        if !path.starts_with('/') || path.len() < 2 {
            return Err(format!("has no absolute path; {FORMS}"));
        }
        if path.chars().any(char::is_control) {
            return Err(format!("holds control characters; {FORMS}"));
        }
        return Ok(text.to_owned());
    }
    let Some(authority) = text.strip_prefix("tcp://") else {
        return Err(format!("has a form that is not supported yet; {FORMS}"));
    };
    if authority.contains('@') {
        return Err(format!("holds credentials, which are not supported; {FORMS}"));
    }
    match host_and_port(authority.trim_end_matches('/'))? {
        (host, Some(port)) => Ok(format!("tcp://{host}:{port}")),
        (_, None) => Err(format!("has no port; {FORMS}, usually 2375, or 2376 with TLS")),
    }
}

fn is_off(text: &str) -> bool {
    matches!(text, "off" | "none")
}
