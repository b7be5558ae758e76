//! `/livez`, `/readyz`, `/health` and `/metrics`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::context::Context;
use super::state::Frontend;

/// The process runs. Depends on nothing else.
pub(super) async fn live() -> Json<serde_json::Value> {
    Json(json!({"status": "ok"}))
}

/// Can requests be served? Otherwise what is missing, a line each.
pub(super) async fn ready(State(frontend): State<Arc<Frontend>>, context: Context) -> Response {
    match readiness(&frontend, &context) {
        Ok(()) => Json(json!({"ready": true, "reasons": []})).into_response(),
        Err(reasons) => unavailable(json!({"ready": false, "reasons": reasons})),
    }
}

/// llama-server's form.
pub(super) async fn health(State(frontend): State<Arc<Frontend>>, context: Context) -> Response {
    match readiness(&frontend, &context) {
        Ok(()) => Json(json!({"status": "ok"})).into_response(),
        Err(reasons) => {
            unavailable(json!({"error": {"code": 503, "message": reasons.join("; "), "type": "unavailable_error"}}))
        }
    }
}

/// All metrics of the process.
pub(super) async fn metrics(State(frontend): State<Arc<Frontend>>, headers: HeaderMap) -> Response {
    frontend.options.metrics.respond(&headers).await
}

/// The same under vLLM's names.
pub(super) async fn vllm_metrics(State(frontend): State<Arc<Frontend>>, headers: HeaderMap) -> Response {
    frontend.options.metrics.respond_vllm(&headers).await
}

/// A service that is going down is not ready, whatever its models say.
pub(super) fn readiness(frontend: &Frontend, context: &Context) -> Result<(), Vec<String>> {
    if context.lifecycle.is_draining() {
        return Err(vec!["the service is shutting down".to_owned()]);
    }
    frontend.models.ready()
}

fn unavailable(body: serde_json::Value) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}
