//! Which cache.

use std::sync::Arc;
use std::time::Duration;

use llmo_cache::memory::{MemoryCache, MemoryOptions};
use llmo_cache::redis::{RedisCache, RedisOptions};
use llmo_cache::remote::{RemoteCache, RemoteOptions};
use llmo_cache::tiered::{TieredCache, TieredOptions};
use llmo_config::{CacheBackend, CacheConfig};
use llmo_core::Cache;

use super::WiringError;

/// What a gateway, or `llmo up`, keeps answers in; `None` if caching is off.
///
/// # Errors
/// [`WiringError::Cache`] if an address can't be one. A cache that doesn't answer is no error: it is left out until it does.
pub async fn answer_cache(config: &CacheConfig) -> Result<Option<Arc<dyn Cache>>, WiringError> {
    match config.backend {
        CacheBackend::Off => Ok(None),
        backend => of_kind(backend, config).await.map(Some),
    }
}

/// What the cache service keeps entries in.
///
/// # Errors
/// As for [`answer_cache`]; [`WiringError::Value`] if the service would ask itself, or cache nothing.
pub async fn service_cache(config: &CacheConfig) -> Result<Arc<dyn Cache>, WiringError> {
    match config.service_backend {
        backend @ (CacheBackend::Off | CacheBackend::Remote) => Err(WiringError::Value {
            key: "cache.service_backend",
            value: format!("{backend:?}").to_lowercase(),
            message: "the cache service itself needs memory, redis or tiered".into(),
        }),
        backend => of_kind(backend, config).await,
    }
}

async fn of_kind(backend: CacheBackend, config: &CacheConfig) -> Result<Arc<dyn Cache>, WiringError> {
    Ok(match backend {
        CacheBackend::Redis => redis(config).await?,
        CacheBackend::Tiered => {
            let second = redis(config).await?;
            Arc::new(TieredCache::new(memory(config), second, TieredOptions::default()))
        }
        CacheBackend::Remote => {
            let mut options = RemoteOptions::default();
            options.timeout = Duration::from_millis(config.timeout_ms);
            options.max_entry_bytes = config.max_entry_bytes;
            let local = format!("http://{}:{}", config.host, config.port);
            let url = if config.url.is_empty() { &local } else { &config.url };
            let cache = RemoteCache::new(url, options);
            Arc::new(cache.map_err(|source| WiringError::Cache { setting: "url", source })?)
        }
        _ => memory(config),
    })
}

fn memory(config: &CacheConfig) -> Arc<dyn Cache> {
    let mut options = MemoryOptions::max_bytes(config.max_bytes);
    options.max_entry_bytes = config.max_entry_bytes;
    Arc::new(MemoryCache::new(options))
}

async fn redis(config: &CacheConfig) -> Result<Arc<dyn Cache>, WiringError> {
    let mut options = RedisOptions::new(&config.redis_url);
    options.timeout = Duration::from_millis(config.timeout_ms);
    options.max_entry_bytes = config.max_entry_bytes;
    let cache = RedisCache::connect(options).await;
    Ok(Arc::new(cache.map_err(|source| WiringError::Cache { setting: "redis_url", source })?))
}
