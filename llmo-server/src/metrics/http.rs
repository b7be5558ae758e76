//! Requests as such: `http_server_request_duration_seconds`, `http_server_active_requests`.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Metrics, buckets, labels};

/// Labels of a request that is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Done {
    http_request_method: &'static str,
    http_route: Arc<str>,
    http_response_status_code: u16,
}

/// Metrics of requests as such.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    duration: Family<Done, Histogram, fn() -> Histogram>,
    active: Gauge,
}

impl HttpMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let duration = Family::new_with_constructor((|| Histogram::new(buckets::DURATION)) as fn() -> Histogram);
        let active = Gauge::default();
        registry.register(
            "http_server_request_duration_seconds",
            "Time from a request's headers to its response's headers",
            duration.clone(),
        );
        registry.register("http_server_active_requests", "Requests without response headers so far", active.clone());
        Self { duration, active }
    }
}

/// A route, as metrics know it.
#[derive(Debug)]
pub(crate) struct Route {
    /// The pattern that a request matched: never the path itself.
    name: Arc<str>,
    /// The series of POST answered with 200, once it has been looked up.
    usual: OnceLock<Histogram>,
}

impl Route {
    /// The route of this pattern. Whoever keeps it spares its requests a look-up.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), usual: OnceLock::new() }
    }

    /// That of a request.
    pub(crate) fn of(request: &Request) -> Self {
        Self::new(request.extensions().get::<MatchedPath>().map_or(labels::OTHER, MatchedPath::as_str))
    }
}

/// Middleware: measures a request that has come to this route.
pub(crate) async fn measure(
    metrics: &Metrics,
    route: &Route,
    request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let start = Instant::now();
    let method = method(request.method());
    let active = Active::new(metrics.http.active.clone());
    let response = next(request).await;
    drop(active);
    let status = response.status();
    let series = || {
        metrics.http.duration.get_or_create_owned(&Done {
            http_request_method: method,
            http_route: Arc::clone(&route.name),
            http_response_status_code: status.as_u16(),
        })
    };
    let took = start.elapsed().as_secs_f64();
    if method == "POST" && status == StatusCode::OK {
        route.usual.get_or_init(series).observe(took);
    } else {
        series().observe(took);
    }
    response
}

/// Counts a request as active while it lives, also when its client leaves.
struct Active(Gauge);

impl Active {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
