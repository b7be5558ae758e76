//! The cache service: a [`Cache`] over HTTP, so that several gateways share one.
//!
//! The protocol is written down in [`llmo_cache::remote::wire`]; the client is
//! [`llmo_cache::remote::RemoteCache`].
//!
//! ```text
//!  request ─► key, headers, query (400) ─► body, bounded (413) ─► Cache ─► answer, or a refusal that names its reason
//! ```

mod answer;
mod handlers;
mod metrics;
mod ready;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get};
use llmo_cache::remote::wire;
use llmo_config::Config;
use llmo_core::Cache;
use tokio_util::sync::CancellationToken;

use crate::http::body::BodyLimits;
use crate::http::{BindError, ServeOptions, bind, layers, serve};
use crate::metrics::Metrics;
use crate::wiring::{WiringError, service_cache};

/// Most bytes of an entry where nothing else is configured.
const DEFAULT_MAX_BYTES: usize = 16 << 20;

/// Why the cache service ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheServiceError {
    /// Its address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its cache can't be made as the configuration says.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The server failed.
    #[error("the cache service failed: {0}")]
    Serve(#[from] std::io::Error),
}

/// What handlers share.
#[derive(Clone)]
struct Service {
    cache: Arc<dyn Cache>,
    limits: BodyLimits,
    metrics: Arc<Metrics>,
}

impl Service {
    fn new(cache: Arc<dyn Cache>, limits: BodyLimits) -> Self {
        let metrics = metrics::of(&cache);
        Self { cache, limits, metrics }
    }
}

/// The routes of the service over any cache; entries of at most 16 MiB, or less if the cache takes less.
pub fn router(cache: Arc<dyn Cache>) -> Router {
    let limits = BodyLimits { max_bytes: DEFAULT_MAX_BYTES, ..BodyLimits::default() };
    routes(Service::new(cache, limits))
}

fn routes(service: Service) -> Router {
    let entry = get(handlers::read).put(handlers::write).delete(handlers::remove);
    Router::new()
        .route(&format!("{}/{{key}}", wire::ENTRIES_PATH), entry)
        .route(wire::ENTRIES_PATH, delete(handlers::remove_many))
        .route(wire::STATS_PATH, get(handlers::stats))
        .route("/metrics", get(metrics::scrape))
        .route("/livez", get(ready::live))
        .route("/readyz", get(ready::ready))
        // Bodies are read with a bound of our own, which also discards what a refused client still sends.
        .layer(DefaultBodyLimit::disable())
        .with_state(service)
}

/// Serves the configured cache until `shutdown`.
///
/// # Errors
/// [`CacheServiceError`].
pub async fn run(config: &Config, shutdown: CancellationToken) -> Result<(), CacheServiceError> {
    let cache = service_cache(&config.cache).await?;
    let setting = "CACHE_SERVICE_PORT or LLMO_CACHE__PORT";
    let listener = bind(&config.cache.host, config.cache.port, setting).await?;
    tracing::info!(address = ?listener.local_addr().ok(), cache = cache.tier(), "the cache service listens");
    let mut limits = BodyLimits::from(&config.limits);
    limits.max_bytes = usize::try_from(config.cache.max_entry_bytes).unwrap_or(usize::MAX);
    let service = Service::new(cache, limits);
    let metrics = Arc::clone(&service.metrics);
    let app = layers::measured(routes(service), metrics);
    serve(listener, app, ServeOptions::from(&config.limits), shutdown).await?;
    Ok(())
}
