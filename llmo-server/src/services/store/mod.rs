//! The storage service: a [`Store`] over HTTP, for model services that fetch their weights from it.
//!
//! The protocol is written down, and its errors are made, in [`llmo_store::protocol`]; the client is
//! [`llmo_store::remote::RemoteStore`]. Bytes are streamed both ways and never held as a whole.
//!
//! ```text
//!  request ─► path (404 before any file is opened) ─► range, conditions ─► Store ─► answer
//! ```

mod answer;
mod body;
mod handlers;
mod metrics;
mod range;
mod ready;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use llmo_config::Config;
use llmo_core::store::Store;
use llmo_store::protocol::OBJECTS;
use tokio_util::sync::CancellationToken;

use crate::http::{BindError, ServeOptions, bind, layers, serve};
use crate::metrics::Metrics;
use crate::wiring::{WiringError, service_store};

/// Why the storage service ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreServiceError {
    /// Its address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its store can't be made as the configuration says.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The server failed.
    #[error("the storage service failed: {0}")]
    Serve(#[from] std::io::Error),
}

/// What handlers share.
#[derive(Clone)]
struct Service {
    store: Arc<dyn Store>,
    /// Longest wait for the next bytes of an upload. There is no bound for the whole: weights are large.
    stall_timeout: Duration,
    metrics: Arc<Metrics>,
}

impl Service {
    fn new(store: Arc<dyn Store>, stall_timeout: Duration) -> Self {
        let metrics = metrics::of(&store);
        Self { store, stall_timeout, metrics }
    }
}

/// The routes of the service over any store.
pub fn router(store: Arc<dyn Store>) -> Router {
    routes(Service::new(store, Duration::from_secs(30)))
}

fn routes(service: Service) -> Router {
    let objects = get(handlers::read).head(handlers::head).put(handlers::write).delete(handlers::delete);
    Router::new()
        .route(&format!("{OBJECTS}/{{*path}}"), objects)
        .route(OBJECTS, get(handlers::list))
        .route("/metrics", get(metrics::scrape))
        .route("/livez", get(ready::live))
        .route("/readyz", get(ready::ready))
        .with_state(service)
}

/// Serves the configured store until `shutdown`.
///
/// # Errors
/// [`StoreServiceError`].
pub async fn run(config: &Config, shutdown: CancellationToken) -> Result<(), StoreServiceError> {
    let store = service_store(&config.store).await?;
    let setting = "STORAGE_SERVICE_PORT or LLMO_STORE__PORT";
    let listener = bind(&config.store.host, config.store.port, setting).await?;
    tracing::info!(address = ?listener.local_addr().ok(), store = store.kind(), "the storage service listens");
    let service = Service::new(store, Duration::from_secs(config.limits.body_timeout_seconds));
    let metrics = Arc::clone(&service.metrics);
    let app = layers::measured(routes(service), metrics);
    serve(listener, app, ServeOptions::from(&config.limits), shutdown).await?;
    Ok(())
}
