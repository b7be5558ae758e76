//! The layer that asks for a key, in front of everything else.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue};
use llmo_server::fault::Fault;
use llmo_server::http::{App, layers};
use llmo_server::metrics::Metrics;

use super::permitted;
use super::ring::{KeyRing, X_API_KEY};

/// Where the front end reads the tenant.
const TENANT: HeaderName = HeaderName::from_static("x-llmo-tenant");

struct Guard {
    ring: Arc<KeyRing>,
    /// Answers in the place of the routes: refusals are logged, measured and spelled in the caller's dialect like all else.
    refusals: App,
}

/// The layer that lets only those requests pass that have a key of `ring`, or that need none.
///
/// The key's tenant replaces whatever the request says of itself, and the key is taken off the request.
pub fn guarding(ring: Arc<KeyRing>, metrics: Arc<Metrics>) -> impl Fn(Request, &App) -> BoxFuture<'static, Response> {
    let refusals = Router::new().route("/", any(refuse)).route("/{*path}", any(refuse));
    let guard = Guard { ring, refusals: layers::measured(refusals, metrics).into() };
    move |request, app| guard.check(request, app)
}

async fn refuse() -> impl IntoResponse {
    ([(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))], Fault::NoKey)
}

impl Guard {
    fn check(&self, mut request: Request, app: &App) -> BoxFuture<'static, Response> {
        let open = is_open(request.uri().path());
        let holder = if open { None } else { self.ring.holder(request.headers(), SystemTime::now()) };
        let headers = request.headers_mut();
        headers.remove(AUTHORIZATION);
        headers.remove(X_API_KEY);
        headers.remove(TENANT);
        match holder {
            Some(holder) => {
                headers.insert(TENANT, holder.tenant().clone());
                Box::pin(permitted::during(holder, app.answer(request)))
            }
            None if open => app.answer(request),
            None => self.refusals.answer(request),
        }
    }
}

/// What monitoring and browsers ask for, and what tells nothing of models or requests but what metrics do.
fn is_open(path: &str) -> bool {
    matches!(
        path,
        "/" | "/livez"
            | "/readyz"
            | "/health"
            | "/metrics"
            | "/metrics/vllm"
            | "/docs"
            | "/docs/page.css"
            | "/docs/page.js"
            | "/openapi.json"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_not_known_to_be_open_needs_a_key() {
        for open in ["/livez", "/readyz", "/health", "/metrics"] {
            assert!(is_open(open), "{open}");
        }
        for closed in ["/v1/models", "/api/tags", "//livez", "/livez/", "/metrics/../v1/models", "/internal/status"] {
            assert!(!is_open(closed), "{closed}");
        }
    }
}
