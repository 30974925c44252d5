//! Probes and metrics over HTTP. Nothing here changes anything.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, serve};
use serde_json::json;
use tokio::net::TcpListener;

use crate::worker::run::Instruments;

/// Binds the address; an error names it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("http-addr {address} cannot be used: {error}"))
}

/// Serves for as long as it is polled.
pub async fn run(listener: TcpListener, instruments: Instruments) {
    let router = Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/startupz", get(startup))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .with_state(instruments);
    if let Err(error) = serve(listener, router).await {
        tracing::error!(err = %error, "probes and metrics are not served any more");
    }
}

async fn live(State(instruments): State<Instruments>) -> Response {
    verdict(instruments.vitals.is_live(), "live", "the loop stands still")
}

async fn startup(State(instruments): State<Instruments>) -> Response {
    verdict(instruments.vitals.has_started(), "started", "not started yet")
}

fn verdict(good: bool, yes: &'static str, no: &'static str) -> Response {
    if good { (StatusCode::OK, yes).into_response() } else { (StatusCode::SERVICE_UNAVAILABLE, no).into_response() }
}

async fn ready(State(instruments): State<Instruments>) -> Response {
    let readiness = instruments.vitals.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(instruments): State<Instruments>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], instruments.metrics.render()).into_response()
}

async fn version() -> Response {
    Json(json!({ "name": "startjobs", "version": env!("CARGO_PKG_VERSION") })).into_response()
}
