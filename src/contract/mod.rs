//! The wire: what a start job, an outcome and a dead letter look like as stream entries.
//!
//! Pure: no I/O, no clock. Everything here accepts arbitrary bytes, because any client may append to the stream.

// in: what Lobby appends
pub mod start_job;
pub(crate) mod trace;
// what may name an image
pub mod image_ref;
// its parts
pub(crate) mod reference;
// out: what Lobby reads back
pub mod error_code;
pub mod job_result;
// the dead letter: an entry that could not be answered, kept for people
pub mod dead_letter;

use bytes::Bytes;

/// The field-value pairs of one stream entry, in wire order, repeated names kept.
pub type Fields = Vec<(Bytes, Bytes)>;
