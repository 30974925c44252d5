//! A dead letter as JSON, without loss: what is not UTF-8 becomes `{"base64": "..."}`.

use serde_json::{Map, Value};

use super::select::game_of;
use crate::stream::dead_letters::{Head, Letter};

/// The version of the JSON forms.
pub(super) const SCHEMA_VERSION: u32 = 1;
/// Those of the fleet's own fields that are numbers.
const NUMBERS: [&str; 4] = ["deliveries", "crashes", "failures", "dead_at_ms"];
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Everything of one dead letter. The fleet's own fields are absent where the entry is not of its making.
pub(super) fn letter(letter: &Letter) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("id".to_owned(), letter.id.to_string().into());
    for (name, value) in letter.head.iter().flat_map(Head::pairs) {
        let value = if NUMBERS.contains(&name) { number(value) } else { bytes(value) };
        object.insert(name.to_owned(), value);
    }
    object.insert("game".to_owned(), bytes(game_of(letter)));
    let pair = |(name, value): &(bytes::Bytes, bytes::Bytes)| Value::Array(vec![bytes(name), bytes(value)]);
    object.insert("original".to_owned(), letter.original.iter().map(pair).collect());
    object
}

/// What is told about one dead letter, and how large its job is: nothing of what the job carries but its game.
pub(in crate::cli) fn outline(one: &Letter) -> Map<String, Value> {
    let mut object = letter(one);
    let bytes: usize = one.original.iter().map(|(name, value)| name.len() + value.len()).sum();
    object.insert("original".to_owned(), serde_json::json!({ "fields": one.original.len(), "bytes": bytes }));
    object
}

/// An object that says which version it has, and then everything of `object`.
pub(super) fn versioned(object: Map<String, Value>) -> Value {
    let version = [("schema_version".to_owned(), Value::from(SCHEMA_VERSION))];
    Value::Object(version.into_iter().chain(object).collect())
}

/// A number as far as it comes back as the same text.
fn number(value: &[u8]) -> Value {
    let text = std::str::from_utf8(value).ok();
    let number = text.and_then(|text| text.parse::<u64>().ok().filter(|number| number.to_string() == text));
    number.map_or_else(|| bytes(value), Value::from)
}

fn bytes(value: &[u8]) -> Value {
    let as_base64 = || Value::Object(Map::from_iter([("base64".to_owned(), base64(value).into())]));
    std::str::from_utf8(value).map_or_else(|_| as_base64(), Value::from)
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |position: usize| u32::from(chunk.get(position).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for position in 0..4 {
            let six = (bits >> (18 - 6 * position)) & 63;
            let letter = if position <= chunk.len() { char::from(ALPHABET[six as usize]) } else { '=' };
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_everybody_writes_it() {
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"\xff\xfe\x00\x10", "//4AEA==")]
        {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn numbers_only_where_nothing_is_lost() {
        assert_eq!(number(b"17"), Value::from(17));
        assert_eq!(number(b"017"), Value::from("017"));
        assert_eq!(number(b"\xff"), serde_json::json!({ "base64": "/w==" }));
    }
}
