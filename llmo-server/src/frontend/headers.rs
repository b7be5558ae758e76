//! Headers of answers that tell where they come from.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};
use llmo_core::model::Origin;

use super::context::Context;

const CACHE: HeaderName = HeaderName::from_static("x-cache");
const REPLICA: HeaderName = HeaderName::from_static("x-llmo-replica");
const ROUTE: HeaderName = HeaderName::from_static("x-llmo-route");

/// Adds `x-cache` and `x-llmo-replica`, and `x-llmo-route` for who wants it, as far as they are known; and takes them down.
pub(super) fn with_origin(context: &Context, origin: &Origin, response: impl IntoResponse) -> Response {
    context.answered_by(origin);
    let mut response = response.into_response();
    if let Some(cache) = origin.cache.header() {
        response.headers_mut().insert(CACHE, HeaderValue::from_static(cache));
    }
    if let Some(replica) = origin.replica.as_deref().and_then(|name| HeaderValue::from_str(name).ok()) {
        response.headers_mut().insert(REPLICA, replica);
    }
    let route = origin.route.as_deref().filter(|_| context.explain_route);
    if let Some(route) = route.and_then(|route| HeaderValue::from_str(route).ok()) {
        response.headers_mut().insert(ROUTE, route);
    }
    response
}
