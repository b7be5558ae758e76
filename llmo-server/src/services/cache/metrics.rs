//! `/metrics` of the cache service: its requests, and the counters of its cache.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use llmo_core::Cache;

use super::Service;
use crate::metrics::{self, Metrics, Role};

/// The registry of a cache service.
pub(super) fn of(cache: &Arc<dyn Cache>) -> Arc<Metrics> {
    // The role names requests to models, of which this service has none.
    let metrics = Metrics::new(Role::ModelService);
    metrics::cache::observe(&metrics, Arc::clone(cache));
    metrics
}

/// `GET /metrics`.
pub(super) async fn scrape(State(service): State<Service>, headers: HeaderMap) -> Response {
    service.metrics.respond(&headers).await
}
