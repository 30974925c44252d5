//! Many strings as one argument or one reply: Redis and the client pay for every one alone, and a batch has hundreds.
//!
//! MessagePack, which scripts take apart and put together with `cmsgpack`.

use bytes::Bytes;
use rmp::{decode, encode};

use super::RedisError;

/// Byte strings that become one array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Strings {
    count: u32,
    bytes: Vec<u8>,
}

/// The longest header of an array.
const HEADER_MAX: usize = 5;

impl Strings {
    /// None yet, with room for so many bytes.
    pub(crate) fn expecting(bytes: usize) -> Self {
        Self { count: 0, bytes: Vec::with_capacity(bytes) }
    }

    /// One more string.
    pub(crate) fn push(&mut self, value: &[u8]) {
        self.count += 1;
        push_string(&mut self.bytes, value);
    }

    /// All of `others`, behind those that are here.
    pub(crate) fn append(&mut self, others: &Self) {
        self.count += others.count;
        self.bytes.extend_from_slice(&others.bytes);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    /// Some more strings, and before them an element that says how many.
    pub(crate) fn push_counted(&mut self, values: &[&str]) {
        self.count += 1;
        // Writing to a Vec cannot fail.
        encode::write_uint(&mut self.bytes, values.len() as u64).ok();
        for value in values {
            self.push(value.as_bytes());
        }
    }

    /// The array as one argument.
    pub(crate) fn into_array(self) -> Result<Bytes, RedisError> {
        let mut array = Vec::with_capacity(self.bytes.len() + HEADER_MAX);
        encode::write_array_len(&mut array, self.count).map_err(|_| RedisError::unexpected("batch length"))?;
        array.extend_from_slice(&self.bytes);
        Ok(array.into())
    }
}

/// The string type, not the binary one: the server's unpacker takes any bytes in it, and every version knows it. Redis
/// refuses values beyond 512 MiB long before the length wraps.
fn push_string(bytes: &mut Vec<u8>, value: &[u8]) {
    encode::write_str_len(bytes, u32::try_from(value.len()).unwrap_or(u32::MAX)).ok();
    bytes.extend_from_slice(value);
}

/// Takes an array of arrays of strings apart; nothing where it is anything else.
pub(crate) fn arrays_of(mut bytes: &[u8]) -> Option<Vec<Vec<String>>> {
    let bytes = &mut bytes;
    let count = array_len(bytes)?;
    let mut arrays = Vec::with_capacity(count);
    for _ in 0..count {
        let length = array_len(bytes)?;
        arrays.push((0..length).map(|_| string(bytes)).collect::<Option<_>>()?);
    }
    bytes.is_empty().then_some(arrays)
}

/// Every element takes at least one byte: a longer length than that is no reply of a script of ours.
fn array_len(bytes: &mut &[u8]) -> Option<usize> {
    let length = decode::read_array_len(bytes).ok()? as usize;
    (length <= bytes.len()).then_some(length)
}

fn string(bytes: &mut &[u8]) -> Option<String> {
    let length = decode::read_str_len(bytes).ok()? as usize;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arrays_come_back(arrays in proptest::collection::vec(proptest::collection::vec(".{0,300}", 0..5), 0..20)) {
            let length = |count: usize| u32::try_from(count).expect("few");
            let mut bytes = Vec::new();
            encode::write_array_len(&mut bytes, length(arrays.len())).expect("room");
            for array in &arrays {
                encode::write_array_len(&mut bytes, length(array.len())).expect("room");
                for text in array {
                    push_string(&mut bytes, text.as_bytes());
                }
            }
            prop_assert_eq!(arrays_of(&bytes), Some(arrays));
        }

        #[test]
        fn counted_strings_stand_behind_their_number(
            runs in proptest::collection::vec(proptest::collection::vec(".{0,300}", 0..5), 0..20),
        ) {
            let mut strings = Strings::expecting(0);
            for run in &runs {
                let words: Vec<&str> = run.iter().map(String::as_str).collect();
                strings.push_counted(&words);
            }
            let array = strings.into_array().expect("short");
            let bytes = &mut &array[..];
            let elements: usize = runs.iter().map(|run| 1 + run.len()).sum();
            prop_assert_eq!(array_len(bytes), Some(elements));
            for run in runs {
                prop_assert_eq!(decode::read_int::<usize, _>(bytes).expect("a number"), run.len());
                for text in run {
                    prop_assert_eq!(string(bytes), Some(text));
                }
            }
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn any_bytes_are_taken_apart_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = arrays_of(&bytes);
        }
    }
}
