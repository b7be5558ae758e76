//! Headers of answers that tell where they come from.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};
use llmo_core::model::Origin;

const CACHE: HeaderName = HeaderName::from_static("x-cache");
const REPLICA: HeaderName = HeaderName::from_static("x-llmo-replica");

/// Adds `x-cache` and `x-llmo-replica`, as far as they are known.
pub(super) fn with_origin(origin: &Origin, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    if let Some(cache) = origin.cache.header() {
        response.headers_mut().insert(CACHE, HeaderValue::from_static(cache));
    }
    if let Some(replica) = origin.replica.as_deref().and_then(|name| HeaderValue::from_str(name).ok()) {
        response.headers_mut().insert(REPLICA, replica);
    }
    response
}
