//! How long a registry wants to be left alone: in the words that an engine passes on, or in the header of an answer.

use std::time::{Duration, SystemTime};

use hyper::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use crate::tls::web::WebAnswer;

/// As some registries say it in their words: `retry-after: 1m30s`.
pub(super) fn said_in(words: &str) -> Option<Duration> {
    let words = words.to_ascii_lowercase();
    let (_, rest) = words.split_once("retry-after:")?;
    let text: String =
        rest.trim_start().chars().take_while(|letter| !letter.is_whitespace() && *letter != ',').collect();
    go_duration(&text)
}

/// As Go writes durations; a number alone means seconds.
fn go_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let (mut sum, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, more) = rest.split_at(digits);
        let units = more.find(|letter: char| letter.is_ascii_digit()).unwrap_or(more.len());
        let (unit, more) = more.split_at(units);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * seconds;
        rest = more;
    }
    Duration::try_from_secs_f64(sum).ok()
}

/// As the header of an answer says it.
pub(super) fn said_by(answer: &WebAnswer) -> Option<Duration> {
    if answer.status != 429 && answer.status != 503 {
        return None;
    }
    let said = text_of(&answer.headers, &RETRY_AFTER)?;
    if let Ok(seconds) = said.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(said).ok()?;
    // By the registry's own clock, where it tells that.
    let now = text_of(&answer.headers, &DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    until.duration_since(now.unwrap_or_else(SystemTime::now)).ok()
}

pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_words_of_a_registry_may_say_how_long() {
        for (words, expected) in [
            ("toomanyrequests: retry-after: 615.023µs, allowed: 44000/minute", Some(Duration::from_nanos(615_023))),
            ("toomanyrequests: Retry-After: 1m30s", Some(Duration::from_secs(90))),
            ("toomanyrequests: retry-after: 30", Some(Duration::from_secs(30))),
            ("toomanyrequests: retry-after: -30", None),
            ("toomanyrequests: retry-after: soon", None),
            ("toomanyrequests: You have reached your pull rate limit.", None),
        ] {
            assert_eq!(said_in(words), expected, "{words}");
        }
    }

    #[test]
    fn a_header_holds_seconds_or_a_date() {
        let answer = |headers: &[(HeaderName, &'static str)]| WebAnswer {
            status: 429,
            headers: headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect(),
            body: Vec::new(),
        };
        assert_eq!(said_by(&answer(&[(RETRY_AFTER, "120")])), Some(Duration::from_secs(120)));
        let date = answer(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT"), (DATE, "Sun, 06 Nov 1994 08:49:07 GMT")]);
        assert_eq!(said_by(&date), Some(Duration::from_secs(30)));
        assert_eq!(said_by(&answer(&[])), None);
        assert_eq!(said_by(&WebAnswer { status: 200, ..answer(&[(RETRY_AFTER, "1")]) }), None);
    }
}
