//! What goes to Redis and what comes back. A reply is taken apart once, into the types that its caller asks for; bytes
//! are shared on the way, never copied.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use bytes::Bytes;
use fred::types as client;

use super::RedisError;

/// An argument of a command or script, or a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Value(pub(super) client::Value);

/// The name of a key. Cloning it does not copy it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(pub(super) client::Key);

/// What a reply can be taken apart into.
pub trait FromValue: Sized {
    /// Takes it apart; an error where the reply has another shape.
    fn from_value(value: Value) -> Result<Self, RedisError>;
}

impl Value {
    /// Takes the reply apart; an error where it has another shape.
    pub fn convert<T: FromValue>(self) -> Result<T, RedisError> {
        T::from_value(self)
    }

    /// A list of names and values in turn, as `HGETALL` and the entries of a stream have them; none where there is
    /// nothing.
    pub(crate) fn pairs<K: FromValue, V: FromValue>(self) -> Result<Vec<(K, V)>, RedisError> {
        let flat = self.into_list()?;
        if !flat.len().is_multiple_of(2) {
            return Err(RedisError::unexpected("a name without a value"));
        }
        let (mut pairs, mut flat) = (Vec::with_capacity(flat.len() / 2), flat.into_iter());
        while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
            pairs.push((name.convert()?, value.convert()?));
        }
        Ok(pairs)
    }

    /// There is nothing.
    pub fn is_null(&self) -> bool {
        matches!(self.0, client::Value::Null)
    }

    /// It is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.0, client::Value::Array(_))
    }

    /// A number, also one that is written as a text.
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            client::Value::Integer(number) => Some(*number),
            _ => self.as_string()?.parse().ok(),
        }
    }

    /// A text or a number, as a text.
    pub fn as_string(&self) -> Option<String> {
        match &self.0 {
            client::Value::String(text) => Some(text.to_string()),
            client::Value::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
            client::Value::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Bytes or a text, as they came.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            client::Value::String(text) => Some(text.as_bytes()),
            client::Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements of a list; none where there is nothing.
    pub fn into_list(self) -> Result<Vec<Self>, RedisError> {
        match self.0 {
            // Collected in place: a list of the one type is a list of the other.
            client::Value::Array(values) => Ok(values.into_iter().map(Self).collect()),
            client::Value::Null => Ok(Vec::new()),
            other => Err(unexpected("a list", &other)),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self(client::Value::Bytes(bytes))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self(number.into())
    }
}

impl From<u64> for Value {
    /// Redis's own numbers end at the largest `i64`.
    fn from(number: u64) -> Self {
        i64::try_from(number).unwrap_or(i64::MAX).into()
    }
}

impl From<String> for Key {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

/// One element of a tuple, none where the reply is shorter.
fn element(rest: &mut impl Iterator<Item = Value>) -> Result<Value, RedisError> {
    rest.next().ok_or_else(|| RedisError::unexpected("a list that is too short"))
}

/// Names the kind of what came, never its content: that may be of any size.
fn unexpected(wanted: &str, found: &client::Value) -> RedisError {
    RedisError::unexpected(&format!("{} instead of {wanted}", found.kind()))
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        Ok(value)
    }
}

impl FromValue for Bytes {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        match value.0 {
            client::Value::String(text) => Ok(text.into_inner()),
            client::Value::Bytes(bytes) => Ok(bytes),
            client::Value::Integer(number) => Ok(number.to_string().into()),
            other => Err(unexpected("bytes", &other)),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        value.as_string().ok_or_else(|| unexpected("a text", &value.0))
    }
}

impl FromValue for i64 {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        value.as_i64().ok_or_else(|| unexpected("a number", &value.0))
    }
}

impl FromValue for u64 {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        let number = match &value.0 {
            client::Value::Integer(number) => u64::try_from(*number).ok(),
            _ => value.as_string().and_then(|text| text.parse().ok()),
        };
        number.ok_or_else(|| unexpected("a number of at least 0", &value.0))
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        if value.is_null() { Ok(None) } else { value.convert().map(Some) }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        value.into_list()?.into_iter().map(T::from_value).collect()
    }
}

impl<K, V, S> FromValue for HashMap<K, V, S>
where
    K: FromValue + Eq + Hash,
    V: FromValue,
    S: BuildHasher + Default,
{
    fn from_value(value: Value) -> Result<Self, RedisError> {
        Ok(value.pairs()?.into_iter().collect())
    }
}

/// Later versions may answer more elements than a caller asks for.
macro_rules! tuple {
    ($($part:ident),+) => {
        impl<$($part: FromValue),+> FromValue for ($($part,)+) {
            fn from_value(value: Value) -> Result<Self, RedisError> {
                let mut rest = value.into_list()?.into_iter();
                Ok(($($part::from_value(element(&mut rest)?)?,)+))
            }
        }
    };
}
tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);
tuple!(A, B, C, D, E);
tuple!(A, B, C, D, E, F);

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: Vec<Value>) -> Value {
        Value(client::Value::Array(values.into_iter().map(|value| value.0).collect()))
    }

    const NULL: Value = Value(client::Value::Null);

    #[test]
    fn nested_replies_are_taken_apart_by_their_types() {
        let entry = list(vec!["7-0".into(), list(vec!["a".into(), Bytes::from_static(b"\xff").into()])]);
        let (id, fields): (String, Vec<Bytes>) = entry.clone().convert().expect("an entry");
        assert_eq!((id.as_str(), fields), ("7-0", vec![Bytes::from("a"), Bytes::from_static(b"\xff")]));
        let (_, fields): (String, Value) = entry.convert().expect("an entry");
        assert_eq!(fields.pairs(), Ok(vec![("a".to_owned(), Bytes::from_static(b"\xff"))]));
        assert_eq!(list(vec![5_i64.into(), "6".into()]).convert::<(u64, u64)>(), Ok((5, 6)));
        assert_eq!(list(vec![5_i64.into(), "6".into()]).convert::<Vec<String>>(), Ok(vec!["5".into(), "6".into()]));
        assert_eq!(list(vec!["5".into(), 6_i64.into(), "more".into()]).convert::<(u64, u64)>(), Ok((5, 6)));
    }

    #[test]
    fn nothing_is_an_empty_list_or_none() {
        assert_eq!(NULL.convert::<Vec<String>>(), Ok(Vec::new()));
        assert_eq!(NULL.convert::<Option<String>>(), Ok(None));
        assert_eq!(NULL.pairs::<String, String>(), Ok(Vec::new()));
        assert!(NULL.convert::<String>().is_err() && NULL.convert::<u64>().is_err());
    }

    #[test]
    fn another_shape_is_an_error_that_names_no_content() {
        let secret = || Value::from("sesame");
        for error in [
            secret().convert::<u64>().map(drop),
            secret().convert::<Vec<String>>().map(drop),
            list(vec![secret()]).convert::<(String, String)>().map(drop),
            list(vec![secret()]).pairs::<String, String>().map(drop),
            list(vec![secret()]).convert::<String>().map(drop),
            Value::from(-1_i64).convert::<u64>().map(drop),
            Value::from(Bytes::from_static(b"\xff")).convert::<String>().map(drop),
        ] {
            let text = error.expect_err("another shape").text;
            assert!(text.starts_with("unexpected reply from Redis: ") && !text.contains("sesame"), "{text}");
        }
    }

    #[test]
    fn bytes_are_shared_and_not_copied() {
        let bytes = Bytes::from(vec![7; 1_000]);
        let back: Bytes = Value::from(bytes.clone()).convert().expect("bytes");
        assert_eq!(back.as_ptr(), bytes.as_ptr());
        let text: Bytes = Value::from("x".repeat(1_000)).convert().expect("bytes");
        assert_eq!(text.len(), 1_000);
    }
}
