//! Renders a [`Fault`] in the dialect of the request's path: the one place where errors get their bodies.

use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderName, HeaderValue};

use super::{Arrival, RequestId};
use crate::dialect::Dialect;
use crate::fault::Fault;

/// llama.cpp's and OpenAI's clients look at this before they look at `retry-after`.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Middleware: gives the responses of faults their body and headers.
pub async fn render(request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let of_path = Dialect::of_path(request.uri().path());
    let id = Arrival::of(request.extensions()).and_then(Arrival::request_id);
    let response = next(request).await;
    let Some(fault) = response.extensions().get::<Fault>().cloned() else {
        return response;
    };
    let dialect = response.extensions().get::<Dialect>().copied().unwrap_or(of_path);
    fault.log_details(id.as_ref().map_or("", RequestId::as_str));
    let (mut parts, _) = response.into_parts();
    // The body below has its own.
    parts.headers.remove(http::header::CONTENT_LENGTH);
    let mut rendered = (fault.status(), axum::Json(dialect.error_body(&fault))).into_response();
    let headers = rendered.headers_mut();
    headers.extend(parts.headers);
    if let Some(wait) = fault.retry_after() {
        let wait = jittered(wait, random_share());
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil() as u64));
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)));
    }
    if fault.closes_connection() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    rendered.extensions_mut().insert(fault);
    rendered
}

/// `wait` plus up to as much again, at least a second: clients that were refused together come back apart.
fn jittered(wait: Duration, share: f64) -> Duration {
    let wait = wait.max(Duration::from_millis(250));
    wait + wait.max(Duration::from_secs(1)).mul_f64(share)
}

fn random_share() -> f64 {
    fastrand::f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_at_least_what_was_said_and_at_most_twice_that() {
        let wait = Duration::from_secs(4);
        assert_eq!(jittered(wait, 0.0), wait);
        assert!(jittered(wait, 0.999) < wait * 2);
    }

    #[test]
    fn even_a_wait_of_nothing_is_spread() {
        assert!(jittered(Duration::ZERO, 0.0) > Duration::ZERO);
        assert!(jittered(Duration::ZERO, 1.0) > Duration::from_secs(1));
    }
}
