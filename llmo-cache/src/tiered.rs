//! A fast cache in front of a slower, shared one.
//!
//! * Reads ask the first tier, then the second; what the second had goes into the first, with its tags and what is left
//!   of its time to live.
//! * Writes go to both before they return.
//! * A failing second tier is counted and otherwise not noticed by reads and writes. Removals do report it: whoever
//!   removes something wants to know that others may still see it.
//!
//! This client never reads an old value after its own newer write or removal, also not when the second tier missed it:
//! see `stale`. Copies in the first tiers of *other* processes live on until their time is over, which
//! [`TieredOptions::first_ttl`] keeps short.

mod epochs;
mod stale;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use llmo_core::cache::Result;
use llmo_core::{Cache, CacheError, CacheKey, CacheStats, Entry, PutOptions};

use crate::counters::Counters;
use epochs::Epochs;
use stale::StaleKeys;

/// How a [`TieredCache`] uses its tiers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TieredOptions {
    /// Longest life of a copy in the first tier: how long this process may go on with what another one removed.
    /// `None`: as long as in the second. Default: 60 s.
    pub first_ttl: Option<Duration>,
}

impl Default for TieredOptions {
    fn default() -> Self {
        Self { first_ttl: Some(Duration::from_secs(60)) }
    }
}

/// Two caches as one.
pub struct TieredCache {
    first: Arc<dyn Cache>,
    second: Arc<dyn Cache>,
    options: TieredOptions,
    epochs: Epochs,
    stale: StaleKeys,
    counters: Counters,
    second_failures: AtomicU64,
}

// === impl TieredCache ===

impl TieredCache {
    /// Puts `first`, which should be in memory, in front of `second`.
    pub fn new(first: Arc<dyn Cache>, second: Arc<dyn Cache>, options: TieredOptions) -> Self {
        Self {
            first,
            second,
            options,
            epochs: Epochs::default(),
            stale: StaleKeys::default(),
            counters: Counters::default(),
            second_failures: AtomicU64::new(0),
        }
    }

    /// How often the second tier failed.
    #[must_use]
    pub fn second_tier_failures(&self) -> u64 {
        self.second_failures.load(Relaxed)
    }

    fn note_failure<T>(&self, outcome: &Result<T>) {
        if let Err(error) = outcome
            && !matches!(error, CacheError::TooLarge { .. })
        {
            self.second_failures.fetch_add(1, Relaxed);
        }
    }

    fn first_options(&self, ttl: Option<Duration>, tags: Vec<String>) -> PutOptions {
        let mut options = PutOptions::default();
        options.ttl = match (ttl, self.options.first_ttl) {
            (Some(ttl), Some(cap)) => Some(ttl.min(cap)),
            (ttl, cap) => ttl.or(cap),
        };
        options.tags = tags;
        options
    }

    /// Asks the second tier, unless it is known to hold an old value: that is removed first.
    async fn get_second(&self, key: &CacheKey) -> Option<Entry> {
        if self.stale.contains(key) {
            if let Err(error) = self.remove_second(key).await {
                tracing::debug!(%key, %error, "an old value in the second tier can't be removed yet");
            }
            return None;
        }
        let found = self.second.get(key).await;
        self.note_failure(&found);
        found.ok().flatten()
    }

    async fn find(&self, key: &CacheKey) -> Option<Entry> {
        if let Ok(Some(entry)) = self.first.get(key).await {
            return Some(entry);
        }
        let seen = *self.epochs.of(key).lock().await;
        let entry = self.get_second(key).await?;
        self.promote(key, &entry, seen).await;
        Some(entry)
    }

    async fn promote(&self, key: &CacheKey, entry: &Entry, seen: u64) {
        let epoch = self.epochs.of(key).lock().await;
        if *epoch != seen {
            return; // It was written or removed since we asked: what we hold may be old.
        }
        let options = self.first_options(entry.ttl, entry.tags.clone());
        if let Err(error) = self.first.put(key, entry.value.clone(), options).await {
            tracing::debug!(%key, %error, "not promoted");
        }
        drop(epoch);
    }

    async fn put_second(&self, key: &CacheKey, value: Bytes, options: PutOptions) -> Result<()> {
        let write = self.stale.write(key);
        let put = self.second.put(key, value, options).await;
        self.note_failure(&put);
        match put {
            Ok(()) => write.succeeded(),
            Err(CacheError::TooLarge { .. }) => write.changed_nothing(),
            Err(_) => drop(write),
        }
        put
    }

    async fn remove_second(&self, key: &CacheKey) -> Result<bool> {
        let write = self.stale.write(key);
        let removed = self.second.remove(key).await;
        self.note_failure(&removed);
        if removed.is_ok() {
            write.succeeded();
        }
        removed
    }
}

#[async_trait]
impl Cache for TieredCache {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let found = Ok(self.find(key).await);
        self.counters.got(&found);
        found
    }

    async fn put(&self, key: &CacheKey, value: Bytes, options: PutOptions) -> Result<()> {
        let first_options = self.first_options(options.ttl, options.tags.clone());
        let second = self.put_second(key, value.clone(), options).await;
        // Last, and with a new epoch: a read that found the old value in the second tier meanwhile can't put it here
        // any more, and one that already did is overwritten.
        let mut epoch = self.epochs.of(key).lock().await;
        *epoch += 1;
        let first = self.first.put(key, value, first_options).await;
        if first.is_err() && second.is_ok() {
            self.first.remove(key).await?;
        }
        drop(epoch);
        if first.is_ok() && matches!(second, Err(CacheError::TooLarge { .. })) {
            // What it holds is now older than what the first tier holds.
            self.stale.mark(key);
            if let Err(error) = self.remove_second(key).await {
                tracing::debug!(%key, %error, "an old value in the second tier can't be removed yet");
            }
        }
        let outcome = if second.is_ok() { Ok(()) } else { first };
        self.counters.put(&outcome);
        outcome
    }

    async fn remove(&self, key: &CacheKey) -> Result<bool> {
        let second = self.remove_second(key).await;
        let mut epoch = self.epochs.of(key).lock().await;
        *epoch += 1;
        let first = self.first.remove(key).await;
        drop(epoch);
        Ok(first? | second?)
    }

    /// Removes from both tiers. The count is the larger of the two: copies in the first are also in the second.
    async fn remove_tag(&self, tag: &str) -> Result<u64> {
        let second = self.second.remove_tag(tag).await;
        self.note_failure(&second);
        self.epochs.advance_all().await;
        let first = self.first.remove_tag(tag).await?;
        Ok(first.max(second?))
    }

    async fn clear(&self) -> Result<()> {
        let second = self.second.clear().await;
        self.note_failure(&second);
        if second.is_ok() {
            self.stale.unmark_all();
        }
        self.epochs.advance_all().await;
        self.first.clear().await?;
        second
    }

    /// Hits in either tier; evictions of both; entries and bytes of the second tier, or of the first while the second
    /// can't be asked; errors are the second tier's.
    async fn stats(&self) -> Result<CacheStats> {
        let first = self.first.stats().await?;
        let second = self.second.stats().await;
        let mut stats = self.counters.stats();
        stats.errors += self.second_tier_failures();
        stats.evictions = first.evictions + second.as_ref().map_or(0, |second| second.evictions);
        let size = second.ok().filter(|second| second.entries > 0).unwrap_or(first);
        (stats.entries, stats.bytes) = (size.entries, size.bytes);
        Ok(stats)
    }

    fn tier(&self) -> &'static str {
        "tiered"
    }
}

impl std::fmt::Debug for TieredCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TieredCache")
            .field("first", &self.first.tier())
            .field("second", &self.second.tier())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
