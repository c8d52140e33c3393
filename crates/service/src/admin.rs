//! What SREs ask a process: `/metrics`, `/livez`, `/readyz`, `/startupz`.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde_json::{Value, json};

use crate::{
    telemetry::{Check, Telemetry},
    wall,
};

/// The routes.
pub fn routes(telemetry: Telemetry) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .with_state(telemetry)
}

async fn metrics(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], telemetry.text())
}

async fn live(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    answer(&telemetry.live(wall()))
}

async fn ready(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    answer(&telemetry.ready())
}

async fn started(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    answer(&telemetry.started())
}

fn answer(checks: &[Check]) -> impl IntoResponse + use<> {
    let failed = checks.iter().any(|check| check.reason.is_some());
    let status = if failed {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    let word = |failed: bool| if failed { "fail" } else { "pass" };
    let each: Vec<Value> = checks
        .iter()
        .map(|check| json!({ "name": check.name, "status": word(check.reason.is_some()), "reason": check.reason }))
        .collect();
    let body = json!({ "status": word(failed), "checks": each });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string())
}
