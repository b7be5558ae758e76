//! Is the service alive, and can it reach its objects?

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use llmo_core::store::{StoreError, StorePath};
use serde_json::json;

use super::Service;
use crate::http::Arrival;

/// A store that takes longer to say that an object isn't there is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// `/livez`: asks nobody.
pub(super) async fn live() -> &'static str {
    "ok"
}

/// `/readyz`: asks the store for an object that need not be there.
pub(super) async fn ready(State(service): State<Service>, arrival: Option<Extension<Arrival>>) -> Response {
    let mut reasons = Vec::new();
    if arrival.is_some_and(|Extension(arrival)| arrival.lifecycle().is_draining()) {
        reasons.push("shutting down".to_owned());
    }
    if let Some(reason) = unreachable(&service).await {
        reasons.push(reason);
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

async fn unreachable(service: &Service) -> Option<String> {
    let probe = StorePath::new("readyz").ok()?;
    match tokio::time::timeout(PATIENCE, service.store.head(&probe)).await {
        Ok(Ok(_) | Err(StoreError::NotFound(_))) => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            Some("the store can't be reached".to_owned())
        }
        Err(_) => Some("the store does not answer".to_owned()),
    }
}
