//! Is the service alive, and can it reach what it keeps entries in?

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use llmo_core::CacheKey;
use serde_json::json;

use super::Service;
use crate::http::Arrival;

/// A cache that takes longer to say that an entry isn't there is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// `/livez`: asks nobody.
pub(super) async fn live() -> &'static str {
    "ok"
}

/// `/readyz`: has the cache remove an entry that need not be there (a `get` would count as a miss).
pub(super) async fn ready(State(service): State<Service>, arrival: Option<Extension<Arrival>>) -> Response {
    let mut reasons = Vec::new();
    if arrival.is_some_and(|Extension(arrival)| arrival.lifecycle().is_draining()) {
        reasons.push("shutting down");
    }
    reasons.extend(unreachable(&service).await);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

async fn unreachable(service: &Service) -> Option<&'static str> {
    let probe = CacheKey::new("readyz").ok()?;
    match tokio::time::timeout(PATIENCE, service.cache.remove(&probe)).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            Some("the cache can't be reached")
        }
        Err(_) => Some("the cache does not answer"),
    }
}
