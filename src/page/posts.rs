//! Forms of the page: saying the token, and what people change once they have. Each form holds a code of the session
//! that loaded it, so no other site can make a browser send one.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use tokio::time::timeout;

use super::answers::shown;
use super::looks::wall_ms;
use super::query::Query;
use super::screens::{access, act, drain, hold, refused, wish};
use super::site::{Asked, SESSION, Site, cookie};
use super::token::{Denied, Person, SESSION_MS};
use crate::stream::entry_id::EntryId;

/// Bytes of a form.
const FORM_MAX: usize = 16 * 1024;
/// Pairs of a form: the ids of a page, and some more.
const PAIRS_MAX: usize = act::IDS_MAX + 16;
/// How long a form may take to come.
const FORM_WITHIN: Duration = Duration::from_secs(5);

type Of = State<Arc<Site>>;

/// Takes the token, and answers with a session.
pub(super) async fn login(State(site): Of, headers: HeaderMap, body: Body) -> Response {
    let form = match form(body).await {
        Ok(form) => form,
        Err(refused) => return refused,
    };
    let (token, name) = (form.get("token").unwrap_or_default(), form.get("name").unwrap_or_default());
    match site.tokens.login(token, name, wall_ms()).await {
        Ok(value) => {
            let name = super::text::line(name, super::token::NAME_MAX);
            tracing::info!(by = %name, action = "login", "changed on the page");
            with_cookie(&headers, &value, SESSION_MS / 1_000)
        }
        Err(why) => {
            tracing::warn!(err = %why, "a token was not accepted on the page");
            let status = match why {
                Denied::TooMany => StatusCode::TOO_MANY_REQUESTS,
                Denied::File(_) => StatusCode::SERVICE_UNAVAILABLE,
                Denied::Off | Denied::Wrong | Denied::Name => StatusCode::FORBIDDEN,
            };
            let asked = Asked::new(&site, Query::default(), &headers).await;
            shown(&asked, status, access::denied(&asked, &why))
        }
    }
}

/// Ends the session: in this browser, and in this process for every copy of its cookie.
pub(super) async fn logout(State(site): Of, headers: HeaderMap, body: Body) -> Response {
    match signed(&site, &headers, body).await {
        Ok((_, person, _)) => {
            if let Some(value) = cookie(&headers, SESSION) {
                site.tokens.end(value, &person, wall_ms()).await;
            }
            tracing::info!(by = %person.name, action = "logout", "changed on the page");
            with_cookie(&headers, "", 0)
        }
        Err(refused) => refused,
    }
}

/// Puts dead letters back as jobs, after a question.
pub(super) async fn requeue(State(site): Of, headers: HeaderMap, body: Body) -> Response {
    dead(&site, &headers, body, act::Verb::Requeue).await
}

/// Removes dead letters for good, after a question.
pub(super) async fn remove(State(site): Of, headers: HeaderMap, body: Body) -> Response {
    dead(&site, &headers, body, act::Verb::Remove).await
}

/// Holds the fleet, after a question.
pub(super) async fn pause(State(site): Of, headers: HeaderMap, body: Body) -> Response {
    held(&site, &headers, body, hold::Verb::Pause).await
}

/// Ends the pause, after a question.
pub(super) async fn resume(State(site): Of, headers: HeaderMap, body: Body) -> Response {
    held(&site, &headers, body, hold::Verb::Resume).await
}

/// Cancels a job that has not started, after a question.
pub(super) async fn cancel(State(site): Of, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Response {
    wished(&site, &id, (&headers, body), wish::Verb::Cancel).await
}

/// Lets a job be tried again at once, after a question.
pub(super) async fn retry(State(site): Of, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Response {
    wished(&site, &id, (&headers, body), wish::Verb::Retry).await
}

/// Lets one replica drain, after a question.
pub(super) async fn drain(State(site): Of, headers: HeaderMap, body: Body) -> Response {
    match begun(&site, &headers, body).await {
        Ok((mut asked, person, form)) => {
            let page = drain::drain(&mut asked, &person, &form).await;
            shown(&asked, StatusCode::OK, page)
        }
        Err(refused) => refused,
    }
}

async fn wished(site: &Arc<Site>, id: &str, (headers, body): (&HeaderMap, Body), verb: wish::Verb) -> Response {
    let Ok(id) = id.parse::<EntryId>() else { return Redirect::to("/jobs").into_response() };
    match begun(site, headers, body).await {
        Ok((mut asked, person, form)) => {
            let page = wish::wish(&mut asked, &person, id, &form, verb).await;
            shown(&asked, StatusCode::OK, page)
        }
        Err(refused) => refused,
    }
}

async fn dead(site: &Arc<Site>, headers: &HeaderMap, body: Body, verb: act::Verb) -> Response {
    match begun(site, headers, body).await {
        Ok((mut asked, person, form)) => {
            let page = act::dead(&mut asked, &person, &form, verb).await;
            shown(&asked, StatusCode::OK, page)
        }
        Err(refused) => refused,
    }
}

async fn held(site: &Arc<Site>, headers: &HeaderMap, body: Body, verb: hold::Verb) -> Response {
    match begun(site, headers, body).await {
        Ok((mut asked, person, form)) => {
            let page = hold::hold(&mut asked, &person, &form, verb).await;
            shown(&asked, StatusCode::OK, page)
        }
        Err(refused) => refused,
    }
}

/// A form of a session by which something may be changed now, or the answer to what is none.
async fn begun(site: &Arc<Site>, headers: &HeaderMap, body: Body) -> Result<(Asked, Person, Query), Response> {
    let (asked, person, form) = signed(site, headers, body).await?;
    if asked.seen.failing.is_some() {
        return Err(shown(&asked, StatusCode::SERVICE_UNAVAILABLE, refused::away(&asked)));
    }
    Ok((asked, person, form))
}

/// A form of a session, or the answer to what is none.
async fn signed(site: &Arc<Site>, headers: &HeaderMap, body: Body) -> Result<(Asked, Person, Query), Response> {
    let form = form(body).await?;
    let asked = Asked::new(site, Query::default(), headers).await;
    match asked.person.clone().filter(|person| person.wrote(form.get("code").unwrap_or_default())) {
        Some(person) => Ok((asked, person, form)),
        None => Err(shown(&asked, StatusCode::FORBIDDEN, access::needed(&asked))),
    }
}

async fn form(body: Body) -> Result<Query, Response> {
    let refused = |status, said: &'static str| (status, [(header::CONNECTION, "close")], said).into_response();
    match timeout(FORM_WITHIN, to_bytes(body, FORM_MAX)).await {
        Ok(Ok(bytes)) => Ok(Query::pairs(&String::from_utf8_lossy(&bytes), PAIRS_MAX)),
        Ok(Err(_)) => Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the form is too long\n")),
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "the form took too long\n")),
    }
}

/// Back to the screen of access, with this session for so many seconds.
fn with_cookie(headers: &HeaderMap, value: &str, seconds: u64) -> Response {
    // Behind a proxy that encrypts, the browser must not send it without.
    let is_encrypted = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let secure = if is_encrypted { "; Secure" } else { "" };
    let cookie = format!("{SESSION}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut response = Redirect::to("/system#access").into_response();
    response.headers_mut().extend(HeaderValue::from_str(&cookie).ok().map(|cookie| (header::SET_COOKIE, cookie)));
    response
}
