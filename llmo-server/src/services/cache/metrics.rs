//! `/metrics` of the cache service: its requests, and the counters of its cache.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use llmo_core::Cache;

use super::Service;
use crate::metrics::{self, Metrics, Role};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry of a cache service.
pub(super) fn of(cache: &Arc<dyn Cache>) -> Arc<Metrics> {
    // The role names requests to models, of which this service has none.
    let metrics = Metrics::new(Role::ModelService);
    metrics::cache::observe(&metrics, Arc::clone(cache));
    metrics
}

/// `GET /metrics`.
pub(super) async fn scrape(State(service): State<Service>) -> Response {
    ([(CONTENT_TYPE, OPENMETRICS)], service.metrics.encode().await).into_response()
}
