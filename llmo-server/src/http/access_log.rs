//! One log line a request: what, how it went, how long until its response began.

use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use super::RequestId;
use crate::fault::Fault;

/// Longest path in a log line, in characters.
const MAX_PATH: usize = 200;

/// Middleware: logs a request. Probes and scrapes come every few seconds and are logged at `debug` only. Bodies and
/// queries are never logged; the path is escaped.
pub async fn log(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(MAX_PATH).collect();
    let id = request.extensions().get::<RequestId>().cloned();
    let response = next.run(request).await;
    let (status, request_id) = (response.status().as_u16(), id.as_ref().map_or("", RequestId::as_str));
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let error = response.extensions().get::<Fault>().map(Fault::code);
    match error {
        _ if is_probe(&path) => tracing::debug!(%method, ?path, status, ms, request_id, "request"),
        None => tracing::info!(%method, ?path, status, ms, request_id, "request"),
        Some(error) => tracing::info!(%method, ?path, status, ms, request_id, error, "request"),
    }
    response
}

fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/health" | "/api/health" | "/metrics" | "/internal/status")
}
