//! A cache in this process, on [moka](https://docs.rs/moka).
//!
//! * Bounded in bytes, not in entries: an entry weighs its key, its value, its tags and [`ENTRY_OVERHEAD`].
//! * Which entry goes first is decided by TinyLFU: what was asked for once does not push out what is asked for often,
//!   and a new entry may be refused room for that reason.
//! * Each entry has its own time to live. Expired entries are never returned; their memory is freed by the next
//!   operations on the cache.
//!
//! Clones of the values share their memory with the cache ([`Bytes`]).

mod tag_index;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use llmo_core::cache::Result;
use llmo_core::{Cache, CacheError, CacheKey, CacheStats, Entry, PutOptions};
use moka::notification::RemovalCause;
use moka::ops::compute::{CompResult, Op};
use moka::{Expiry, future};

use crate::counters::Counters;
use tag_index::TagIndex;

/// What an entry weighs besides its key, value and tags: moka's own nodes and our bookkeeping, in bytes.
pub const ENTRY_OVERHEAD: usize = 192;
/// What a tag of an entry weighs besides its name: its place in the index, in bytes.
const TAG_OVERHEAD: usize = 64;
/// A longer time to live is cut to this: far beyond any process, and safe for clock arithmetic.
const LONGEST_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Limits of a [`MemoryCache`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// Most bytes of all entries together. Default: 256 MiB.
    pub max_bytes: u64,
    /// Most bytes of a value. Default: 16 MiB. Never more than `max_bytes`.
    pub max_entry_bytes: u64,
    /// Time to live of entries that were put without one. Default: none.
    pub default_ttl: Option<Duration>,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_entry_bytes: 16 << 20, default_ttl: None }
    }
}

impl MemoryOptions {
    /// At most `max_bytes` together, the rest as by default.
    #[must_use]
    pub fn max_bytes(max_bytes: u64) -> Self {
        Self { max_bytes, ..Self::default() }
    }
}

/// Bytes in this process's memory.
pub struct MemoryCache {
    entries: future::Cache<CacheKey, Stored>,
    tags: Arc<TagIndex>,
    counters: Arc<Counters>,
    next_id: AtomicU64,
    options: MemoryOptions,
}

/// A value with what is needed to forget it in time and by tag.
#[derive(Clone)]
struct Stored {
    /// Tells this entry from an earlier one under the same key.
    id: u64,
    value: Bytes,
    expires: Option<Instant>,
    tags: Arc<[String]>,
}

// === impl MemoryCache ===

impl MemoryCache {
    /// An empty cache.
    #[must_use]
    pub fn new(options: MemoryOptions) -> Self {
        let tags = Arc::new(TagIndex::default());
        let counters = Arc::new(Counters::default());
        let listener = {
            let (tags, counters) = (Arc::clone(&tags), Arc::clone(&counters));
            move |key: Arc<CacheKey>, stored: Stored, cause: RemovalCause| {
                tags.forget(&stored.tags, &key, stored.id);
                if cause.was_evicted() {
                    counters.evicted();
                }
            }
        };
        let entries = future::Cache::builder()
            .max_capacity(options.max_bytes)
            .weigher(|key: &CacheKey, stored: &Stored| weight(key, stored))
            .expire_after(PerEntry)
            .eviction_listener(listener)
            .build();
        Self { entries, tags, counters, next_id: AtomicU64::new(0), options }
    }

    fn check_size(&self, value: &Bytes) -> Result<()> {
        let (size, limit) = (value.len() as u64, self.options.max_entry_bytes.min(self.options.max_bytes));
        if size > limit {
            return Err(CacheError::TooLarge { size, limit });
        }
        Ok(())
    }

    /// Removes the entry under `key` if it is still the one with this id.
    async fn remove_exact(&self, key: CacheKey, id: u64) -> bool {
        let removed = self
            .entries
            .entry(key)
            .and_compute_with(|entry| {
                let same = entry.is_some_and(|entry| entry.value().id == id);
                std::future::ready(if same { Op::Remove } else { Op::Nop })
            })
            .await;
        matches!(removed, CompResult::Removed(_))
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let found = self.entries.get(key).await.map(|stored| {
            let mut entry = Entry::new(stored.value);
            entry.ttl = stored.expires.map(|at| at.saturating_duration_since(Instant::now()));
            entry.tags = stored.tags.to_vec();
            entry
        });
        let outcome = Ok(found);
        self.counters.got(&outcome);
        outcome
    }

    async fn put(&self, key: &CacheKey, value: Bytes, options: PutOptions) -> Result<()> {
        self.check_size(&value)?;
        let ttl = options.ttl.or(self.options.default_ttl).map(|ttl| ttl.min(LONGEST_TTL));
        if ttl == Some(Duration::ZERO) {
            self.entries.invalidate(key).await;
            self.counters.put(&Ok(()));
            return Ok(());
        }
        let stored = Stored {
            id: self.next_id.fetch_add(1, Relaxed),
            value,
            expires: ttl.map(|ttl| Instant::now() + ttl),
            tags: options.tags.into(),
        };
        // Before the entry itself, so that no entry is ever in the cache and unknown to the index.
        self.tags.insert(&stored.tags, key, stored.id);
        self.entries.insert(key.clone(), stored).await;
        self.counters.put(&Ok(()));
        Ok(())
    }

    async fn remove(&self, key: &CacheKey) -> Result<bool> {
        Ok(self.entries.remove(key).await.is_some())
    }

    async fn remove_tag(&self, tag: &str) -> Result<u64> {
        let mut removed = 0;
        for (key, id) in self.tags.entries_of(tag) {
            removed += u64::from(self.remove_exact(key, id).await);
        }
        Ok(removed)
    }

    async fn clear(&self) -> Result<()> {
        self.entries.invalidate_all();
        self.entries.run_pending_tasks().await;
        Ok(())
    }

    async fn stats(&self) -> Result<CacheStats> {
        // moka counts entries lazily; without this a test, or a person, sees yesterday's size.
        self.entries.run_pending_tasks().await;
        let mut stats = self.counters.stats();
        stats.entries = self.entries.entry_count();
        stats.bytes = self.entries.weighted_size();
        Ok(stats)
    }

    fn tier(&self) -> &'static str {
        "memory"
    }
}

/// Bytes that an entry counts against the limit; saturates at 4 GiB.
fn weight(key: &CacheKey, stored: &Stored) -> u32 {
    let tags: usize = stored.tags.iter().map(|tag| tag.len() + key.as_str().len() + TAG_OVERHEAD).sum();
    let bytes = key.as_str().len() + stored.value.len() + tags + ENTRY_OVERHEAD;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Gives every entry the time to live it was put with; replacing an entry replaces that too.
struct PerEntry;

impl Expiry<CacheKey, Stored> for PerEntry {
    fn expire_after_create(&self, _: &CacheKey, stored: &Stored, now: Instant) -> Option<Duration> {
        stored.expires.map(|at| at.saturating_duration_since(now))
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        stored: &Stored,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        stored.expires.map(|at| at.saturating_duration_since(now))
    }
}

impl std::fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryCache").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
