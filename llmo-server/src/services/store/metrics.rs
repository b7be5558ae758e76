//! `/metrics` of the storage service: its requests, and how much its store holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use llmo_core::store::Store;
use prometheus_client::metrics::gauge::Gauge;

use super::Service;
use crate::metrics::{Metrics, Refresh, Role};

/// The registry of a storage service.
pub(super) fn of(store: &Arc<dyn Store>) -> Arc<Metrics> {
    // The role names requests to models, of which this service has none.
    let metrics = Metrics::new(Role::ModelService);
    let (bytes, objects) = (Gauge::default(), Gauge::default());
    metrics.register(|registry| {
        registry.register("llmo_storage_bytes", "Bytes of all objects", bytes.clone());
        registry.register("llmo_storage_objects", "Objects now", objects.clone());
    });
    let size = Size { store: Arc::clone(store), bytes, objects, counting: Arc::default() };
    metrics.add_source(Arc::new(size));
    metrics
}

/// `GET /metrics`.
pub(super) async fn scrape(State(service): State<Service>, headers: HeaderMap) -> Response {
    service.metrics.respond(&headers).await
}

/// How much a store holds.
struct Size {
    store: Arc<dyn Store>,
    bytes: Gauge,
    objects: Gauge,
    counting: Arc<AtomicBool>,
}

#[async_trait]
impl Refresh for Size {
    /// Listing a bucket may take longer than a scrape may wait: it goes on, and the next scrape has its result. One
    /// at a time.
    async fn refresh(&self) {
        if self.counting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (store, counting) = (Arc::clone(&self.store), Counting(Arc::clone(&self.counting)));
        let (bytes, objects) = (self.bytes.clone(), self.objects.clone());
        let listing = tokio::spawn(async move {
            match store.list(None).await {
                Ok(all) => {
                    let sum: u64 = all.iter().map(|object| object.size).sum();
                    bytes.set(i64::try_from(sum).unwrap_or(i64::MAX));
                    objects.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
                }
                Err(error) => tracing::debug!(%error, "the store did not tell its size"),
            }
            drop(counting);
        });
        if let Err(error) = listing.await {
            tracing::debug!(%error, "the store was not counted");
        }
    }
}

/// Held while counting, also if that panics.
struct Counting(Arc<AtomicBool>);

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
