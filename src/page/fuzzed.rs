//! What browsers send, and foreign text on the page, for the fuzzer.

use super::markdown;
use super::query::{Query, decoded};
use super::text::{encoded, sentence, visible};
use crate::observe::guard::Guard;
use axum::http::{HeaderMap, HeaderValue, header};

/// A query or the body of a form, a `Host`, and a text to show.
pub(crate) fn pages(text: &str) {
    assert_eq!(decoded(&encoded(text)), text);
    // What a link carries is read as it was.
    let (query, again) = (Query::read(text), |link: String| Query::read(link.trim_start_matches('?')));
    let link = query.with(&[("after", text)]);
    assert!(link.bytes().all(|byte| byte.is_ascii_graphic()), "{link}");
    assert_eq!(again(link.clone()).with(&[]), again(again(link).with(&[])).with(&[]));
    for shown in [visible(text, 64), sentence(text)] {
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
    let html = markdown::html(text);
    let leads_away = html.split("href=\"").skip(1).any(|link| !link.starts_with('#'));
    assert!(!html.contains("<script") && !leads_away, "{html}");
    if let Ok(host) = HeaderValue::from_str(text) {
        let headers = HeaderMap::from_iter([(header::HOST, host)]);
        if Guard::new(&[]).host(&headers).is_ok() {
            assert!(!text.to_ascii_lowercase().contains("example"), "{text}");
        }
    }
}
