//! Which path leads where, and what holds for all of them.

use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::answers::shown;
use super::assets::Asset;
use super::live;
use super::posts;
use super::query::{QUERY_MAX, Query, WATCH_MAX};
use super::screens::{dead, game, job, jobs, overview, replicas, runbooks, system};
use super::secure::secure;
use super::site::{Asked, Site};
use super::token::Denied;
use crate::observe::guard::{Guard, Refusal};
use crate::settings::Loaded;
use crate::stream::entry_id::EntryId;

/// Characters of an id or a name in a path.
const PATH_MAX: usize = 1_024;

/// The page of a process with these settings; not with a token file that cannot be used.
pub(crate) fn routes(loaded: &Loaded) -> Result<Router, Denied> {
    let site = Arc::new(Site::new(loaded));
    site.tokens.check()?;
    if let Some(open) = site.tokens.open_to_others() {
        tracing::warn!(found = %open.found, remedy = %open.remedy, "others may act on the page");
    }
    let mut router = Router::new()
        .route("/", get(overview_screen))
        .route("/jobs", get(jobs_screen))
        .route("/jobs/{id}", get(job_screen))
        .route("/games/{game}", get(game_screen))
        .route("/dead", get(dead_screen))
        .route("/replicas", get(replicas_screen))
        .route("/system", get(system_screen))
        .route("/runbooks", get(runbooks_screen))
        .route("/events", get(events));
    for Asset { path, kind, body } in site.assets.all() {
        let (kind, body) = (*kind, *body);
        router = router.route(path, get(move || async move { asset(kind, body) }));
    }
    let reads = router.route_layer(from_fn_with_state(Arc::clone(&site), guarded));
    let acts = Router::new()
        .route("/login", get(to_access).post(posts::login))
        .route("/logout", get(to_access).post(posts::logout))
        .route("/dead/requeue", get(to_dead).post(posts::requeue))
        .route("/dead/remove", get(to_dead).post(posts::remove))
        .route("/jobs/{id}/cancel", get(to_job).post(posts::cancel))
        .route("/jobs/{id}/retry-now", get(to_job).post(posts::retry))
        .route("/replicas/drain", get(to_replicas).post(posts::drain))
        .route("/fleet/pause", get(to_pause).post(posts::pause))
        .route("/fleet/resume", get(to_pause).post(posts::resume))
        .route_layer(from_fn_with_state(Arc::clone(&site), guarded_form));
    Ok(reads.merge(acts).with_state(site))
}

/// The screen from which a form was sent: there is nothing to see where forms go.
async fn to_access() -> Redirect {
    Redirect::to("/system#access")
}

async fn to_dead() -> Redirect {
    Redirect::to("/dead")
}

async fn to_replicas() -> Redirect {
    Redirect::to("/replicas")
}

async fn to_pause() -> Redirect {
    Redirect::to("/system#pause")
}

async fn to_job(Path(id): Path<String>) -> Redirect {
    Redirect::to(&id.parse::<EntryId>().map_or_else(|_| "/jobs".to_owned(), |id| format!("/jobs/{id}")))
}

fn asset(kind: &'static str, body: &'static str) -> Response {
    let kept = "public, max-age=31536000, immutable";
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, kept)], body).into_response()
}

/// Only questions, of those who may ask, and of a bounded length.
async fn guarded(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let refused = refused(&site, &request);
    answered(refused, request, next).await
}

/// The same where a form of the page itself may come too. Its body is bounded where it is read.
async fn guarded_form(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let refused = if request.method() == Method::POST {
        let headers = request.headers();
        site.guard.host(headers).and_then(|()| Guard::own_form(headers)).err().map(Refusal::into_response)
    } else {
        refused(&site, &request)
    };
    answered(refused, request, next).await
}

async fn answered(refused: Option<Response>, request: Request, next: Next) -> Response {
    let mut response = match refused {
        Some(response) => response,
        None => next.run(request).await,
    };
    secure(response.headers_mut());
    response
}

fn refused(site: &Site, request: &Request) -> Option<Response> {
    let close = [(header::CONNECTION, "close")];
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let allowed = [(header::ALLOW, "GET, HEAD"), (header::CONNECTION, "close")];
        return Some((StatusCode::METHOD_NOT_ALLOWED, allowed, "only GET and HEAD\n").into_response());
    }
    if !request.body().is_end_stream() {
        return Some((StatusCode::PAYLOAD_TOO_LARGE, close, "no body is accepted\n").into_response());
    }
    let is_events = request.uri().path() == "/events";
    let most = if is_events { WATCH_MAX } else { QUERY_MAX };
    if request.uri().query().is_some_and(|query| query.len() > most) {
        return Some((StatusCode::URI_TOO_LONG, close, "the query is too long\n").into_response());
    }
    let headers = request.headers();
    let checked = site
        .guard
        .host(headers)
        .and_then(|()| Guard::origin(headers))
        .and_then(|()| if is_events { Guard::same_site(headers) } else { Ok(()) });
    checked.err().map(Refusal::into_response)
}

type Of = State<Arc<Site>>;

async fn asked(site: &Arc<Site>, uri: &Uri, headers: &HeaderMap) -> Asked {
    Asked::new(site, query(uri), headers).await
}

fn query(uri: &Uri) -> Query {
    Query::read(uri.query().unwrap_or_default())
}

async fn overview_screen(State(site): Of, uri: Uri, headers: HeaderMap) -> Response {
    let asked = asked(&site, &uri, &headers).await.with_history().await;
    shown(&asked, StatusCode::OK, overview::page(&asked))
}

async fn jobs_screen(State(site): Of, uri: Uri, headers: HeaderMap) -> Response {
    let asked = asked(&site, &uri, &headers).await;
    let page = jobs::page(&asked).await;
    shown(&asked, StatusCode::OK, page)
}

async fn job_screen(State(site): Of, Path(id): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    let asked = asked(&site, &uri, &headers).await;
    let (page, is_known) = job::page(&asked, &short(&id)).await;
    shown(&asked, found(is_known), page)
}

async fn game_screen(State(site): Of, Path(name): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    let asked = asked(&site, &uri, &headers).await;
    let (page, is_known) = game::page(&asked, &short(&name)).await;
    shown(&asked, found(is_known), page)
}

async fn dead_screen(State(site): Of, uri: Uri, headers: HeaderMap) -> Response {
    let asked = asked(&site, &uri, &headers).await;
    let page = dead::page(&asked).await;
    shown(&asked, StatusCode::OK, page)
}

async fn replicas_screen(State(site): Of, uri: Uri, headers: HeaderMap) -> Response {
    let asked = asked(&site, &uri, &headers).await;
    shown(&asked, StatusCode::OK, replicas::page(&asked))
}

async fn system_screen(State(site): Of, uri: Uri, headers: HeaderMap) -> Response {
    let asked = asked(&site, &uri, &headers).await;
    let page = system::page(&asked).await;
    shown(&asked, StatusCode::OK, page)
}

/// Needs nothing of the fleet, so it waits for nothing.
async fn runbooks_screen(State(site): Of, uri: Uri, headers: HeaderMap) -> Response {
    let asked = Asked::unseen(&site, query(&uri), &headers).await;
    shown(&asked, StatusCode::OK, runbooks::page(&asked))
}

async fn events(State(site): Of, uri: Uri, headers: HeaderMap) -> Response {
    live::events(asked(&site, &uri, &headers).await)
}

fn found(is_known: bool) -> StatusCode {
    if is_known { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

fn short(text: &str) -> String {
    text.chars().take(PATH_MAX).collect()
}
