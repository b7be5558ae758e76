//! Answers: what is known of an object as headers, and errors as JSON.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::response::Builder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use llmo_core::store::{ObjectMeta, StoreError};
use llmo_store::protocol::{self, ErrorBody, X_MODIFIED, X_SHA256, X_SIZE};

use super::body::Broken;

/// When to ask again while the store is away.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// Why a request is not answered with what it asked for.
pub(super) enum Refusal {
    /// The store's reason.
    Store(StoreError),
    /// The client's own fault while it was sending.
    Upload(Broken),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        Self::Upload(broken)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Store(error) => of_store(&error),
            Self::Upload(Broken::Stalled) => {
                of_upload(StatusCode::REQUEST_TIMEOUT, "upload_timeout", "the upload stalled")
            }
            Self::Upload(Broken::Off) => of_upload(StatusCode::BAD_REQUEST, "upload_broken", "the upload broke off"),
        }
    }
}

fn of_store(error: &StoreError) -> Response {
    let status = StatusCode::from_u16(protocol::status(error)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        // The client is told less than this: it has no business with our paths.
        tracing::warn!(%error, "an object could not be served");
    }
    let mut response = (status, Json(ErrorBody::of(error))).into_response();
    if let StoreError::InvalidRange { size, .. } = error
        && let Ok(value) = format!("bytes */{size}").parse()
    {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

fn of_upload(status: StatusCode, code: &str, message: &str) -> Response {
    let mut response = (status, Json(ErrorBody::new(code, message))).into_response();
    // Whatever still comes belongs to nobody.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The beginning of an answer about an object.
pub(super) fn about(meta: &ObjectMeta) -> Builder {
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(X_SIZE, meta.size)
        .header(X_MODIFIED, meta.modified);
    if let Some(hash) = &meta.sha256 {
        response = response.header(X_SHA256, hash).header(header::ETAG, tag(hash));
    }
    response
}

/// Ends an answer. All headers are our own, so that it does not fail.
pub(super) fn with(response: Builder, body: Body) -> Result<Response, Refusal> {
    response.body(body).map_err(|error| StoreError::Unavailable(error.to_string()).into())
}

/// Has the client these very bytes already (`if-none-match`)?
pub(super) fn is_known(meta: &ObjectMeta, headers: &HeaderMap) -> bool {
    let Some(given) = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else { return false };
    let Some(tag) = meta.sha256.as_deref().map(tag) else { return false };
    given.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

/// Does the range that a client asks for belong to these bytes (`if-range`)? Without a condition it does.
pub(super) fn range_applies(meta: &ObjectMeta, headers: &HeaderMap) -> bool {
    match headers.get(header::IF_RANGE) {
        None => true,
        Some(condition) => meta.sha256.as_deref().is_some_and(|hash| condition.as_bytes() == tag(hash).as_bytes()),
    }
}

fn tag(hash: &str) -> String {
    format!("\"{hash}\"")
}
