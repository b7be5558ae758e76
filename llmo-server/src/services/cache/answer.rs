//! Answers and refusals.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use llmo_cache::remote::wire;
use llmo_core::{CacheError, Entry};

use crate::fault::Fault;

/// When to ask again after the backend failed, in seconds: by then its circuit has been tried again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: wire::ErrorDetail,
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn bad_request(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no entry under this key".to_owned())
    }

    pub(super) fn too_large(limit: u64) -> Self {
        let message = format!("the entry is larger than this cache allows ({limit} bytes)");
        let mut refusal = Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
        refusal.error.limit = Some(limit);
        refusal
    }

    fn new(status: StatusCode, code: &str, message: String) -> Self {
        Self { status, error: wire::ErrorDetail { message, code: code.to_owned(), limit: None } }
    }
}

impl From<CacheError> for Refusal {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::InvalidKey(_) => Self::bad_request(error.to_string()),
            CacheError::TooLarge { limit, .. } => Self::too_large(limit),
            CacheError::Corrupt(_) => Self::new(StatusCode::GONE, "corrupt", error.to_string()),
            CacheError::Timeout => Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", error.to_string()),
            _ => {
                // The client is told less than this: addresses behind us are none of its business.
                tracing::debug!(%error, "the backend of the cache service failed");
                let message = "the backend of this cache can't be reached".to_owned();
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
            }
        }
    }
}

impl From<Fault> for Refusal {
    /// What can go wrong while a body is read.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge { limit } => Self::too_large(limit as u64),
            fault => Self::new(fault.status(), fault.code(), fault.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(wire::ErrorBody { error: self.error })).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            // The rest of the body may still be on the connection.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// An entry, as it was put.
pub(super) fn entry(entry: Entry) -> Result<Response, Refusal> {
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CACHE_CONTROL, "no-store");
    if let Some(ttl) = entry.ttl {
        response = response.header(wire::TTL_HEADER, u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    }
    if !entry.tags.is_empty() {
        response = response.header(wire::TAGS_HEADER, wire::encode_tags(&entry.tags));
    }
    // All headers are our own, so that this does not fail.
    response.body(Body::from(entry.value)).map_err(|error| CacheError::Unavailable(error.to_string()).into())
}
