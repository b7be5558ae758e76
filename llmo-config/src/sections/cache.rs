//! Caches.

use serde::{Deserialize, Serialize};

/// The response cache and the cache service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// What a gateway, or `llmo up`, caches answers in.
    pub backend: CacheBackend,
    /// What the cache service itself keeps entries in: memory, redis or tiered.
    pub service_backend: CacheBackend,
    /// Address of the cache service.
    pub host: String,
    /// Port of the cache service (`CACHE_SERVICE_PORT`).
    pub port: u16,
    /// Base URL of the cache service for its clients; empty: the local one.
    pub url: String,
    /// Redis, for the backends redis and tiered (`REDIS_URL`).
    pub redis_url: String,
    /// Most memory, in bytes.
    pub max_bytes: u64,
    /// Largest entry, in bytes.
    pub max_entry_bytes: u64,
    /// How long an answer is kept.
    pub ttl_seconds: u64,
    /// A cache that takes longer is left out.
    pub timeout_ms: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            backend: CacheBackend::Memory,
            service_backend: CacheBackend::Memory,
            host: "127.0.0.1".into(),
            port: 8082,
            url: String::new(),
            redis_url: "redis://127.0.0.1:6379/0".into(),
            max_bytes: 256 << 20,
            max_entry_bytes: 1 << 20,
            ttl_seconds: 3_600,
            timeout_ms: 20,
        }
    }
}

/// What entries are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CacheBackend {
    /// No cache.
    Off,
    /// This process.
    #[default]
    Memory,
    /// Redis.
    Redis,
    /// This process, with Redis behind it.
    Tiered,
    /// The cache service.
    Remote,
}
