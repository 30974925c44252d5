//! Files that settings name, read whole. An error never quotes what a file holds: it may be a secret.

use std::fs::File;
use std::io::Read as _;

/// The whole file as a text, or why not, as the rest of a sentence that begins with the setting.
pub(crate) fn read_text(path: &str, bytes_max: u64) -> Result<String, String> {
    String::from_utf8(read_bytes(path, bytes_max)?).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        format!("is not UTF-8 text in line {}", count_lines(valid))
    })
}

/// The same of a file that is read again while the process works: a pipe would be waited for, for ever.
pub(crate) fn read_regular(path: &str, bytes_max: u64) -> Result<String, String> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err("is not a regular file".to_owned()),
        _ => read_text(path, bytes_max),
    }
}

/// The whole file, or why not.
pub(crate) fn read_bytes(path: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("is longer than {bytes_max} bytes; is it the right file?"));
    }
    Ok(bytes)
}

/// How many lines a text has, its unfinished one included: the number of the line that it ends in.
pub(crate) fn count_lines(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count()
}
