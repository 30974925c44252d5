//! One line of the file: a job, or what is wrong with it.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::contract::Fields;
use crate::contract::start_job::{FIELDS, StartJob};
use crate::ops::printable::printable;

/// A job as it is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// The number of its line, from 1.
    pub(super) line: u64,
    /// Its game.
    pub(super) game: String,
    /// Names and values for the stream.
    pub(super) fields: Vec<(String, String)>,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// More bytes than any job needs.
    #[error("has more than {0} bytes; a job is one JSON object on one line")]
    TooLong(usize),
    /// No JSON.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// JSON, and no object.
    #[error("is not a JSON object; a job is one, such as {{\"game_id\":\"g1\",\"image_ref\":\"galaxy/engine:1\"}}")]
    NotAnObject,
    /// A field that no job has.
    #[error("{0}: no field of a job; those are {1}")]
    Unknown(String, String),
    /// A value of another type.
    #[error("{0}: must be {1}")]
    Type(&'static str, &'static str),
    /// What a replica would refuse.
    #[error("{0}")]
    Malformed(String),
}

impl Fault {
    /// What to do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "check the file and the disk; the lines before it were taken",
            Self::TooLong(_) => "break it into one object a line",
            Self::NotJson(_) | Self::NotAnObject => "write one JSON object on each line",
            Self::Unknown(..) => "correct the name, or remove the field",
            Self::Type(..) | Self::Malformed(_) => "correct the field",
        }
    }
}

/// Reads one line; none where it is blank. A job that does not say when it was requested was requested at `now_ms`.
pub(super) fn job_of(line: u64, bytes: &[u8], now_ms: u64, max_field_bytes: usize) -> Result<Option<Job>, Fault> {
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| Fault::NotJson(reason(&error)))?;
    let Value::Object(mut object) = value else { return Err(Fault::NotAnObject) };
    let mut fields = Vec::with_capacity(FIELDS.len());
    for name in FIELDS {
        if let Some(value) = taken(&mut object, name)? {
            fields.push((name.to_owned(), value));
        } else if name == "requested_at_ms" {
            fields.push((name.to_owned(), now_ms.to_string()));
        }
    }
    if let Some(name) = object.keys().next() {
        return Err(Fault::Unknown(printable(name), FIELDS.join(", ")));
    }
    let wire: Fields =
        fields.iter().map(|(name, value)| (Bytes::from(name.clone()), Bytes::from(value.clone()))).collect();
    let job = StartJob::decode(&wire, max_field_bytes).map_err(|malformed| Fault::Malformed(malformed.to_string()))?;
    let has_parent = fields.iter().any(|(name, _)| name == "traceparent");
    if has_parent && job.trace.parent.is_none() {
        return Err(Fault::Type(
            "traceparent",
            "of the form of the W3C's trace context, such as 00-<32 hex>-<16 hex>-01",
        ));
    }
    Ok(Some(Job { line, game: job.game_id, fields }))
}

/// The value of a field as the stream has it; none where it is not there.
fn taken(object: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, Fault> {
    match object.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) if name == "requested_at_ms" && number.as_i64().is_some() => {
            Ok(Some(number.to_string()))
        }
        Some(_) if name == "requested_at_ms" => Err(Fault::Type(name, "a whole number of milliseconds")),
        Some(_) => Err(Fault::Type(name, "a text")),
    }
}

/// The words of the parser without its own line number, which is always 1.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words);
    format!("{} (column {})", printable(words), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: &str) -> String {
        job_of(1, line.as_bytes(), 5, 64).expect_err("a fault").to_string()
    }

    #[test]
    fn a_line_becomes_the_fields_of_the_stream() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let line = format!(r#" {{"image_ref":"i","game_id":"g","requested_at_ms":7,"traceparent":"{parent}"}} "#);
        let job = job_of(3, line.as_bytes(), 5, 64).expect("a job").expect("not blank");
        let expected = [("game_id", "g"), ("image_ref", "i"), ("requested_at_ms", "7"), ("traceparent", parent)];
        assert_eq!(job.fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((job.line, job.game.as_str()), (3, "g"));
        let plain = job_of(1, br#"{"game_id":"g","image_ref":"i"}"#, 5, 64).expect("a job").expect("not blank");
        assert_eq!(plain.fields[2], ("requested_at_ms".to_owned(), "5".to_owned()));
        assert_eq!(job_of(1, b" \r\n", 5, 64), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_field() {
        assert_eq!(fault(r#"{"image_ref":"i"}"#), "missing game_id");
        assert!(
            fault("{\"game_id\":").starts_with("is not JSON: EOF while parsing a value (column"),
            "{}",
            fault("{\"game_id\":")
        );
        assert!(fault("[1]").starts_with("is not a JSON object"));
        assert!(fault(r#"{"game_id":7,"image_ref":"i"}"#).starts_with("game_id: must be a text"));
        assert!(
            fault(r#"{"game_id":"g","image_ref":"i","requested_at_ms":1.5}"#).starts_with("requested_at_ms: must be")
        );
        assert!(
            fault(r#"{"game_id":"g","image_ref":"i","gmae":"x"}"#)
                .starts_with("gmae: no field of a job; those are game_id")
        );
        assert!(
            fault(r#"{"game_id":"g","image_ref":"i","traceparent":"x"}"#)
                .starts_with("traceparent: must be of the form")
        );
        let long = format!(r#"{{"game_id":"{}","image_ref":"i"}}"#, "g".repeat(65));
        assert_eq!(fault(&long), "game_id has 65 bytes, more than the 64 allowed");
    }
}
