//! The routes of the dashboard.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use llmo_server::metrics::Metrics;
use llmo_server::services::model::admin_routes;

use super::{Sources, reload, traefik};
use crate::provider::registry;

/// Nothing but our own script and style runs, whatever text an upstream smuggles into a name.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct Plane {
    sources: Sources,
    metrics: Arc<Metrics>,
}

/// The dashboard over these facts.
pub fn router(sources: Sources, metrics: Arc<Metrics>) -> Router {
    let page = || async { asset("text/html; charset=utf-8", include_str!("page.html")) };
    let style = || async { asset("text/css; charset=utf-8", include_str!("page.css")) };
    let script = || async { asset("text/javascript; charset=utf-8", include_str!("page.js")) };
    let routes = Router::new()
        .route("/", get(page))
        .route("/dashboard.css", get(style))
        .route("/dashboard.js", get(script))
        .route("/api/overview", get(overview))
        .route("/api/replicas", get(replicas))
        .route("/api/routes", get(rules))
        .route("/api/providers", get(providers))
        .route("/api/traefik", get(for_traefik))
        .route("/metrics", get(metrics_text))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Plane { sources: sources.clone(), metrics })
        .merge(reload::routes(sources.reloads.clone()))
        .merge(admin_routes(Arc::new(sources.models.clone())));
    let routes = match &sources.registry {
        Some(registry) => routes.merge(registry::routes(Arc::clone(registry))),
        None => routes,
    };
    llmo_server::http::layers::standard(routes)
}

async fn overview(State(plane): State<Plane>) -> Response {
    fresh(Json(plane.sources.overview().await))
}

async fn replicas(State(plane): State<Plane>) -> Response {
    fresh(Json(plane.sources.replicas()))
}

async fn rules(State(plane): State<Plane>) -> Response {
    fresh(Json(plane.sources.routes.table().routes()))
}

async fn providers(State(plane): State<Plane>) -> Response {
    fresh(Json(plane.sources.board.lines()))
}

async fn for_traefik(State(plane): State<Plane>, headers: HeaderMap) -> Response {
    let asked = headers.get(HOST).and_then(|host| host.to_str().ok());
    let known = plane.sources.registry.as_ref().map_or_else(Vec::new, |registry| registry.gateways());
    fresh(Json(traefik::configuration(&traefik::gateways(known, &plane.sources.api, asked))))
}

async fn metrics_text(State(plane): State<Plane>, headers: HeaderMap) -> Response {
    plane.metrics.respond(&headers).await
}

async fn ready(State(plane): State<Plane>) -> Response {
    match plane.sources.ready() {
        Ok(()) => fresh(Json(serde_json::json!({"ready": true, "reasons": []}))),
        Err(reasons) => {
            let mut response = fresh(Json(serde_json::json!({"ready": false, "reasons": reasons})));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
    }
}

fn fresh(body: impl IntoResponse) -> Response {
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], body).into_response()
}

fn asset(kind: &'static str, body: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, body).into_response()
}
