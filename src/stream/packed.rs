//! Many strings as one argument: Redis and the client pay for every argument, and a batch has hundreds of strings.

use bytes::Bytes;

use crate::redis::RedisError;

/// Byte strings that become one MessagePack array, which the scripts take apart with `cmsgpack`.
#[derive(Debug)]
pub(super) struct Strings {
    count: u32,
    bytes: Vec<u8>,
}

/// The longest header of an array.
const HEADER_MAX: usize = 5;

impl Strings {
    /// None yet, with room for so many bytes.
    pub(super) fn expecting(bytes: usize) -> Self {
        Self { count: 0, bytes: Vec::with_capacity(bytes) }
    }

    pub(super) fn push(&mut self, value: &[u8]) {
        self.count += 1;
        // The string type, not the binary one: the server's unpacker takes any bytes in it, and every version knows it.
        // Redis refuses values beyond 512 MiB long before the length wraps; writing to a Vec cannot fail.
        rmp::encode::write_str_len(&mut self.bytes, u32::try_from(value.len()).unwrap_or(u32::MAX)).ok();
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn into_array(self) -> Result<Bytes, RedisError> {
        let mut array = Vec::with_capacity(self.bytes.len() + HEADER_MAX);
        rmp::encode::write_array_len(&mut array, self.count).map_err(|_| RedisError::unexpected("batch length"))?;
        array.extend_from_slice(&self.bytes);
        Ok(array.into())
    }
}
