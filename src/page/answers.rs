//! A page as an answer, with what its request asks of the browser.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::Markup;

use super::site::Asked;

/// How long the choice of the form of times is kept, in seconds.
const CHOICE_KEPT: u64 = 365 * 24 * 3_600;

/// The answer.
pub(super) fn shown(asked: &Asked, status: StatusCode, page: Markup) -> Response {
    let mut response =
        (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.into_string()).into_response();
    let headers = response.headers_mut();
    if let Some(form @ ("utc" | "ago")) = asked.query.get("times") {
        let cookie = format!("times={form}; Path=/; Max-Age={CHOICE_KEPT}; SameSite=Lax; HttpOnly");
        headers.extend(HeaderValue::from_str(&cookie).ok().map(|cookie| (header::SET_COOKIE, cookie)));
    }
    if let Some(seconds) = asked.refresh() {
        headers.insert(header::REFRESH, HeaderValue::from(seconds));
    }
    response
}
