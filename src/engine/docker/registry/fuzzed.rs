//! What registries say, for the fuzzer.

use hyper::header::HeaderMap;

use super::base_of;
use super::challenge::Challenge;
use super::pause::{said_by, said_in};
use crate::tls::web::WebAnswer;

/// Words that an engine passes on, and the name of a registry.
pub(crate) fn words(text: &str) {
    said_in(text);
    base_of(text, true);
}

/// The headers of an answer.
pub(crate) fn headers(headers: &HeaderMap) {
    drop(Challenge::of(headers, "library/redis"));
    said_by(&WebAnswer { status: 429, headers: headers.clone(), body: Vec::new() });
}
