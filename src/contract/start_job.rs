//! The start job as Lobby appends it: decoding is total, and what cannot be decoded is a value, not an error to stop on.

use bytes::Bytes;

use super::Fields;
use super::trace::Trace;

/// A well-formed start job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartJob {
    /// Which game; trimmed, never empty.
    pub(crate) game_id: String,
    /// Which engine image; trimmed, never empty. Its grammar is the start service's business.
    pub(crate) image_ref: String,
    /// When Lobby asked, in Unix milliseconds; 0 where it did not say. Echoed, and measured against `start-deadline`.
    pub(crate) requested_at_ms: i64,
    /// W3C trace context, passed on to the game engine unchanged; what is not of the W3C's form is dropped.
    pub(crate) trace: Trace,
}

/// Why an entry is not a start job. The text goes into the log and into the dead letter's `detail`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A required field is absent, or empty after trimming.
    #[error("missing {0}")]
    Missing(&'static str),
    /// A known field is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    NotText(&'static str),
    /// A known field is larger than `max-field-bytes`.
    #[error("{field} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// Its size.
        size: usize,
        /// The setting.
        limit: usize,
    },
    /// `requested_at_ms` is not a signed 64-bit decimal.
    #[error("invalid requested_at_ms: {0:?} is not a signed 64-bit decimal number")]
    RequestedAt(String),
}

/// Every field that is looked at, in the order of the documentation.
pub const FIELDS: [&str; 5] = [GAME_ID, IMAGE_REF, REQUESTED_AT_MS, "traceparent", "tracestate"];

const GAME_ID: &str = "game_id";
const IMAGE_REF: &str = "image_ref";
const REQUESTED_AT_MS: &str = "requested_at_ms";

impl StartJob {
    /// Decodes an entry. Of repeated fields the last wins; unknown fields may hold any bytes.
    pub fn decode(fields: &Fields, max_field_bytes: usize) -> Result<Self, Malformed> {
        let (mut game_id, mut image_ref, mut requested_at_ms) = (None, None, None);
        let (mut parent, mut state) = (None, None);
        for (name, value) in fields {
            match &name[..] {
                b"game_id" => game_id = Some(value),
                b"image_ref" => image_ref = Some(value),
                b"requested_at_ms" => requested_at_ms = Some(value),
                b"traceparent" => parent = Some(value),
                b"tracestate" => state = Some(value),
                _ => {}
            }
        }
        let text = |value, name| trimmed(value, name, max_field_bytes);
        Ok(Self {
            game_id: required(text(game_id, GAME_ID)?, GAME_ID)?,
            image_ref: required(text(image_ref, IMAGE_REF)?, IMAGE_REF)?,
            requested_at_ms: requested_at(text(requested_at_ms, REQUESTED_AT_MS)?)?,
            trace: Trace::of(parent, state),
        })
    }
}

fn trimmed<'a>(value: Option<&'a Bytes>, name: &'static str, limit: usize) -> Result<&'a str, Malformed> {
    let Some(value) = value else { return Ok("") };
    if value.len() > limit {
        return Err(Malformed::TooLarge { field: name, size: value.len(), limit });
    }
    let text = std::str::from_utf8(value).map_err(|_| Malformed::NotText(name))?;
    Ok(text.trim())
}

fn required(text: &str, name: &'static str) -> Result<String, Malformed> {
    if text.is_empty() { Err(Malformed::Missing(name)) } else { Ok(text.to_owned()) }
}

fn requested_at(text: &str) -> Result<i64, Malformed> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| Malformed::RequestedAt(text.chars().take(64).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 64;

    fn decode(pairs: &[(&str, &[u8])]) -> Result<StartJob, Malformed> {
        let fields = pairs
            .iter()
            .map(|(name, value)| (Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value)))
            .collect();
        StartJob::decode(&fields, LIMIT)
    }

    fn requested(value: &str) -> Result<i64, Malformed> {
        decode(&[("game_id", b"g"), ("image_ref", b"i"), ("requested_at_ms", value.as_bytes())])
            .map(|job| job.requested_at_ms)
    }

    #[test]
    fn values_are_trimmed_and_the_last_of_repeated_fields_wins() {
        let job = decode(&[
            ("game_id", b"first"),
            ("image_ref", b"\t\xc2\xa0engine:1 \n"),
            ("other", b"\xff\x00"),
            ("game_id", b"  second "),
        ])
        .expect("well-formed");
        assert_eq!((job.game_id.as_str(), job.image_ref.as_str(), job.requested_at_ms), ("second", "engine:1", 0));
    }

    #[test]
    fn required_fields_must_hold_something() {
        assert_eq!(decode(&[("image_ref", b"i")]), Err(Malformed::Missing("game_id")));
        assert_eq!(decode(&[("game_id", b" \t"), ("image_ref", b"i")]), Err(Malformed::Missing("game_id")));
        assert_eq!(decode(&[("game_id", b"g")]), Err(Malformed::Missing("image_ref")));
        assert_eq!(decode(&[("GAME_ID", b"g"), ("image_ref", b"i")]), Err(Malformed::Missing("game_id")));
    }

    #[test]
    fn requested_at_is_a_signed_64_bit_decimal_or_nothing() {
        assert_eq!(requested(""), Ok(0));
        assert_eq!(requested("  "), Ok(0));
        assert_eq!(requested(" +17 "), Ok(17));
        assert_eq!(requested("-9223372036854775808"), Ok(i64::MIN));
        for bad in ["9223372036854775808", "1.0", "0x10", "1_000", "+", "--1", "1 2", "٣"] {
            assert!(matches!(requested(bad), Err(Malformed::RequestedAt(_))), "{bad}");
        }
    }

    #[test]
    fn known_fields_must_be_text_of_bounded_size() {
        assert_eq!(decode(&[("game_id", b"\xff"), ("image_ref", b"i")]), Err(Malformed::NotText("game_id")));
        let huge = vec![b'x'; LIMIT + 1];
        assert!(matches!(decode(&[("game_id", b"g"), ("image_ref", &huge)]), Err(Malformed::TooLarge { .. })));
        assert!(decode(&[("game_id", b"g"), ("image_ref", b"i"), ("blob", &huge)]).is_ok());
        let just_fits = decode(&[("game_id", b"g"), ("image_ref", &huge[1..])]).expect("the limit itself is allowed");
        assert_eq!(just_fits.image_ref.len(), LIMIT);
    }

    #[test]
    fn trace_context_of_another_form_is_dropped_and_the_job_is_valid() {
        let decode = |parent: &[u8]| {
            decode(&[("game_id", b"g"), ("image_ref", b"i"), ("traceparent", parent), ("tracestate", b"a=1")])
        };
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let job = decode(parent.as_bytes()).expect("well-formed");
        assert_eq!(job.trace, Trace { parent: Some(parent.into()), state: Some("a=1".into()) });
        let job = decode(b"00-a-b-01\nPATH=/nowhere").expect("well-formed");
        assert_eq!(job.trace, Trace::default());
    }

    fn arbitrary_entry() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        let name = prop_oneof![
            Just(GAME_ID.as_bytes().to_vec()),
            Just(IMAGE_REF.as_bytes().to_vec()),
            Just(REQUESTED_AT_MS.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..12),
        ];
        let value = prop_oneof![
            "[ a-z0-9:./+-]{0,20}".prop_map(String::into_bytes),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..100),
        ];
        proptest::collection::vec((name, value), 0..8)
    }

    proptest! {
        #[test]
        fn decoding_is_total_and_what_it_accepts_keeps_the_rules(entry in arbitrary_entry()) {
            let fields: Fields = entry.into_iter().map(|(n, v)| (Bytes::from(n), Bytes::from(v))).collect();
            if let Ok(job) = StartJob::decode(&fields, LIMIT) {
                for text in [&job.game_id, &job.image_ref] {
                    prop_assert!(!text.is_empty() && text.trim() == text.as_str() && text.len() <= LIMIT);
                }
                let again = vec![
                    (Bytes::from_static(b"game_id"), Bytes::from(job.game_id.clone())),
                    (Bytes::from_static(b"image_ref"), Bytes::from(job.image_ref.clone())),
                    (Bytes::from_static(b"requested_at_ms"), Bytes::from(job.requested_at_ms.to_string())),
                ];
                let plain = StartJob { trace: Trace::default(), ..job };
                prop_assert_eq!(StartJob::decode(&again, LIMIT), Ok(plain));
            }
        }
    }
}
