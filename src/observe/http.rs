//! Probes, metrics and the fleet as JSON over HTTP. Nothing here changes anything, and nothing asks who is there: it is
//! for networks that only operators reach. What is in the fleet is not shown under a name that another site may have.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};

use super::connections;
use super::guard::Guard;
use super::outlook::Outlook;
use crate::ops::{SCHEMA_VERSION, printable};
use crate::redis::RedisError;
use crate::version::{REVISION, RUSTC, VERSION};
use crate::worker::run::Instruments;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Binds the address; an error names it.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let unusable = |error: std::io::Error| format!("http-addr {address} cannot be used: {error}");
    let listener = listen(address).map_err(unusable)?;
    // Port 0 is whatever is free.
    let bound = listener.local_addr().map_err(unusable)?;
    tracing::info!(http_addr = %bound, "probes and metrics are served");
    Ok(listener)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A worker that was just restarted takes its port again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(connections::WAITING_MAX)
}

/// Serves for as long as it is polled.
///
/// `page` has paths of its own, and its own rules for who may ask; these here hold for everything else. `guard` says
/// under which names the fleet is shown.
pub(crate) async fn run(
    listener: TcpListener,
    instruments: Instruments,
    (outlook, guard): (Arc<Outlook>, Guard),
    page: Option<Router>,
) {
    let fleet = Router::new()
        .route("/api/v1/status.json", get(status))
        .route("/api/v1/alerts.json", get(alerts))
        .route("/api/v1/replicas.json", get(replicas))
        .route("/api/v1/pending.json", get(pending))
        .route_layer(from_fn_with_state(Arc::new(guard), guarded))
        .with_state(outlook);
    let router = Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/startupz", get(startup))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .with_state(instruments)
        .merge(fleet)
        .layer(from_fn(only_reads));
    let router = match page {
        Some(page) => router.merge(page),
        None => router,
    };
    connections::serve(listener, router).await;
}

/// No name of another site.
async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.host_if_any(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Nothing but questions without a body; no answer is kept or guessed at.
async fn only_reads(request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if !is_read {
        let headers = [(header::ALLOW, "GET, HEAD"), (header::CONNECTION, "close")];
        (StatusCode::METHOD_NOT_ALLOWED, headers, "only GET and HEAD\n").into_response()
    } else if request.body().is_end_stream() {
        next.run(request).await
    } else {
        (StatusCode::PAYLOAD_TOO_LARGE, [(header::CONNECTION, "close")], "no body is accepted\n").into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn live(State(instruments): State<Instruments>) -> Response {
    match instruments.vitals.liveness() {
        Ok(()) => (StatusCode::OK, "live\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn startup(State(instruments): State<Instruments>) -> Response {
    verdict(instruments.vitals.has_started(), "started\n", "not started yet\n")
}

fn verdict(good: bool, yes: &'static str, no: &'static str) -> Response {
    if good { (StatusCode::OK, yes).into_response() } else { (StatusCode::SERVICE_UNAVAILABLE, no).into_response() }
}

async fn ready(State(instruments): State<Instruments>) -> Response {
    let readiness = instruments.vitals.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, safe(&readiness)).into_response()
}

async fn metrics(State(instruments): State<Instruments>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], instruments.metrics.render()).into_response()
}

async fn version() -> Response {
    Json(json!({ "name": "startjobs", "version": VERSION, "revision": REVISION, "rustc": RUSTC })).into_response()
}

async fn status(State(outlook): State<Arc<Outlook>>) -> Response {
    shown(outlook.overview().await)
}

async fn alerts(State(outlook): State<Arc<Outlook>>) -> Response {
    shown(outlook.alerts().await)
}

async fn replicas(State(outlook): State<Arc<Outlook>>) -> Response {
    shown(outlook.replicas().await)
}

async fn pending(State(outlook): State<Arc<Outlook>>) -> Response {
    shown(outlook.pending().await)
}

/// JSON that may also be shown on a terminal: `curl` shows what game ids and errors hold.
fn safe(value: &impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], printable::json(value)).into_response()
}

fn shown<T: Serialize>(answer: Result<T, RedisError>) -> Response {
    match answer {
        Ok(answer) => safe(&answer),
        Err(error) => {
            let body = json!({ "schema_version": SCHEMA_VERSION, "error": error.text });
            (StatusCode::SERVICE_UNAVAILABLE, safe(&body)).into_response()
        }
    }
}
