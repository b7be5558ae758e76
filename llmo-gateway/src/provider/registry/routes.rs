//! `/registry/replicas`: where model services announce themselves.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::{AUTHORIZATION, ORIGIN};
use llmo_server::http::Arrival;
use llmo_server::http::body::{self, BodyLimits};
use serde::Deserialize;
use serde_json::json;

use super::{Announcement, Registry};

/// Nothing here is long.
const MAX_BODY: usize = 64 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The ways to announce a replica (`POST`, again before its lease ends), to withdraw it (`DELETE`), and to see all (`GET`).
pub fn routes(registry: Arc<Registry>) -> Router {
    Router::new().route("/registry/replicas", get(list).post(announce).delete(withdraw)).with_state(registry)
}

#[derive(Deserialize)]
struct Withdrawal {
    url: String,
}

async fn announce(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let announcement: Announcement = match read(&registry, request).await {
        Ok(announcement) => announcement,
        Err(refusal) => return *refusal,
    };
    match registry.announce(announcement).await {
        Ok(lease) => Json(json!({"lease_seconds": lease.as_secs()})).into_response(),
        Err(problem) => *refusal(StatusCode::BAD_REQUEST, &problem),
    }
}

async fn withdraw(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let withdrawal: Withdrawal = match read(&registry, request).await {
        Ok(withdrawal) => withdrawal,
        Err(refusal) => return *refusal,
    };
    match registry.withdraw(&withdrawal.url).await {
        Ok(known) => Json(json!({"known": known})).into_response(),
        Err(problem) => *refusal(StatusCode::BAD_REQUEST, &problem),
    }
}

async fn list(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    if let Err(refusal) = let_in(&registry, &request) {
        return *refusal;
    }
    let line = |(target, left): (crate::provider::Target, Duration)| {
        let shown = target.url.rsplit_once('@').map_or(target.url.as_str(), |(_, host)| host);
        json!({"url": shown, "weight": target.weight, "lease_seconds_left": left.as_secs()})
    };
    Json(registry.leases().into_iter().map(line).collect::<Vec<_>>()).into_response()
}

async fn read<T: serde::de::DeserializeOwned>(registry: &Registry, request: Request) -> Result<T, Box<Response>> {
    let_in(registry, &request)?;
    let mut limits = BodyLimits::default();
    limits.max_bytes = MAX_BODY;
    limits.timeout = BODY_TIMEOUT;
    let bytes = body::read_json(request, limits).await.map_err(|fault| Box::new(fault.into_response()))?;
    serde_json::from_slice(&bytes).map_err(|error| refusal(StatusCode::BAD_REQUEST, &error.to_string()))
}

/// Whoever gets in here is sent prompts.
fn let_in(registry: &Registry, request: &Request) -> Result<(), Box<Response>> {
    // Browsers name the page that sends; no page has any business here.
    if request.headers().contains_key(ORIGIN) {
        return Err(refusal(StatusCode::FORBIDDEN, "web pages can't register replicas"));
    }
    if registry.token().is_empty() {
        let peer = Arrival::of(request.extensions()).and_then(Arrival::peer);
        if peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
            return Ok(());
        }
        let message = "without a token only services of the gateway's own machine may register; set discovery.token to the same secret on both sides";
        return Err(refusal(StatusCode::FORBIDDEN, message));
    }
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
    match shown.is_some_and(|shown| same(shown.as_bytes(), registry.token().as_bytes())) {
        true => Ok(()),
        false => Err(refusal(StatusCode::UNAUTHORIZED, "the token is not the one of this gateway (discovery.token)")),
    }
}

/// Takes as long for a wrong token as for a right one of the same length.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn refusal(status: StatusCode, message: &str) -> Box<Response> {
    Box::new((status, Json(json!({"error": {"message": message}}))).into_response())
}
