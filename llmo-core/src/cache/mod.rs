//! The [`Cache`] trait: bytes by key, with weight, time to live and tags.
//!
//! A cache may forget anything at any time and is never the only place where something is kept. Whoever uses one goes
//! on without it when it fails: [`CacheError`] is something to count, not to show to users.

mod error;
mod key;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use error::{CacheError, Result};
pub use key::{CacheKey, MAX_KEY_BYTES};

/// Bytes by key.
///
/// # Contract
/// * `put` replaces; a following `get` by the same client sees the new entry or nothing, never the old one.
/// * After its time to live an entry is gone. An entry without one lives until it is evicted.
/// * `remove_tag` removes every entry that was put with this tag.
/// * Entries above the cache's own size limit are refused with [`CacheError::TooLarge`], and harm nothing.
#[async_trait]
pub trait Cache: Send + Sync {
    /// The entry under `key`, if there is one.
    ///
    /// # Errors
    /// [`CacheError::Unavailable`] or [`CacheError::Timeout`] if the cache can't be asked.
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>>;

    /// Puts an entry.
    ///
    /// # Errors
    /// As for `get`; [`CacheError::TooLarge`].
    async fn put(&self, key: &CacheKey, value: Bytes, options: PutOptions) -> Result<()>;

    /// Removes an entry; true if there was one.
    ///
    /// # Errors
    /// As for `get`.
    async fn remove(&self, key: &CacheKey) -> Result<bool>;

    /// Removes all entries with this tag; returns how many, as far as known.
    ///
    /// # Errors
    /// As for `get`.
    async fn remove_tag(&self, tag: &str) -> Result<u64>;

    /// Removes everything that this cache put (in a shared backend: under its own prefix).
    ///
    /// # Errors
    /// As for `get`.
    async fn clear(&self) -> Result<()>;

    /// Counters since start, and size now.
    ///
    /// # Errors
    /// As for `get`.
    async fn stats(&self) -> Result<CacheStats>;

    /// What kind of cache this is, for metrics: `memory`, `redis`, `tiered`, `remote`.
    fn tier(&self) -> &'static str;
}

/// An entry read from a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// What was put.
    pub value: Bytes,
    /// What is left of its time to live, if it has one and the backend can tell.
    pub ttl: Option<Duration>,
    /// The tags it was put with, where the backend can tell: what a faster tier in front needs to keep them.
    pub tags: Vec<String>,
}

impl Entry {
    /// An entry with nothing known of its time to live and its tags.
    #[must_use]
    pub fn new(value: Bytes) -> Self {
        Self { value, ttl: None, tags: Vec::new() }
    }
}

/// How an entry is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PutOptions {
    /// Forget it after this long.
    pub ttl: Option<Duration>,
    /// Names of groups to remove it with, e.g. `model:smollm2-135m`, `tenant:a`.
    pub tags: Vec<String>,
}

impl PutOptions {
    /// Forget it after `ttl`.
    #[must_use]
    pub fn ttl(ttl: Duration) -> Self {
        Self { ttl: Some(ttl), tags: Vec::new() }
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }
}

/// Counters of a cache since its start, and its size now. A shared backend may report only what this client did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Gets that found something.
    pub hits: u64,
    /// Gets that found nothing.
    pub misses: u64,
    /// Puts.
    pub puts: u64,
    /// Entries removed to make room, or because their time had come.
    pub evictions: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Entries now.
    pub entries: u64,
    /// Bytes now, keys and values.
    pub bytes: u64,
}
