//! `POST /admin/reload`: reads configuration, keys and certificates at once, and says what came of it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::header::ORIGIN;
use http::{HeaderMap, StatusCode};
use llmo_server::fault::Fault;
use serde_json::json;

use crate::provider::Reloads;

/// The route.
pub(super) fn routes(reloads: Reloads) -> Router {
    Router::new().route("/admin/reload", post(reload)).with_state(reloads)
}

async fn reload(State(reloads): State<Reloads>, headers: HeaderMap) -> Result<Response, Fault> {
    // Browsers name the page that sends; no page has any business here.
    if headers.contains_key(ORIGIN) {
        return Err(Fault::unsupported("origin", "web pages can't reload the configuration"));
    }
    let outcomes = reloads.run().await;
    let problems: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| Some(format!("{}: {}", outcome.provider, outcome.problem.as_ref()?)))
        .collect();
    if problems.is_empty() {
        return Ok(Json(json!({"sources": outcomes})).into_response());
    }
    let error = json!({
        "message": problems.join("; "),
        "type": "invalid_request_error",
        "param": null,
        "code": "configuration_refused",
    });
    Ok((StatusCode::BAD_REQUEST, Json(json!({"error": error, "sources": outcomes}))).into_response())
}
