//! What response caches count.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use llmo_core::model::CacheStatus;

/// Counters of one or more response caches, to be read by whoever exports metrics.
///
/// Texts to embed count like requests: one hit, miss or bypass each.
#[derive(Debug, Default)]
pub struct ResponseCacheStats {
    hits: AtomicU64,
    misses: AtomicU64,
    bypasses: AtomicU64,
    saved_tokens: AtomicU64,
    lookup_failures: AtomicU64,
    corrupt: AtomicU64,
    writes: AtomicU64,
    write_failures: AtomicU64,
    dropped_writes: AtomicU64,
    too_large: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ResponseCacheCounts {
    /// Answers from the cache (`llmo_cache_hits_total`).
    pub hits: u64,
    /// Answers that were not there (`llmo_cache_misses_total`).
    pub misses: u64,
    /// Requests for which the cache was not asked, or did not answer.
    pub bypasses: u64,
    /// Prompt and completion tokens of the hits: what the model did not have to do (`llmo_cache_saved_tokens_total`).
    pub saved_tokens: u64,
    /// Lookups that failed or took too long.
    pub lookup_failures: u64,
    /// Damaged entries found, and removed.
    pub corrupt: u64,
    /// Answers kept.
    pub writes: u64,
    /// Answers that the cache did not take.
    pub write_failures: u64,
    /// Answers not kept because too many writes were under way.
    pub dropped_writes: u64,
    /// Answers not kept because of their size.
    pub too_large: u64,
}

impl ResponseCacheStats {
    /// The counts now. They are read one by one: two that belong together may be a moment apart.
    #[must_use]
    pub fn counts(&self) -> ResponseCacheCounts {
        ResponseCacheCounts {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            bypasses: self.bypasses.load(Relaxed),
            saved_tokens: self.saved_tokens.load(Relaxed),
            lookup_failures: self.lookup_failures.load(Relaxed),
            corrupt: self.corrupt.load(Relaxed),
            writes: self.writes.load(Relaxed),
            write_failures: self.write_failures.load(Relaxed),
            dropped_writes: self.dropped_writes.load(Relaxed),
            too_large: self.too_large.load(Relaxed),
        }
    }

    pub(super) fn looked_up(&self, status: CacheStatus) {
        match status {
            CacheStatus::Hit => add(&self.hits, 1),
            CacheStatus::Miss => add(&self.misses, 1),
            _ => add(&self.bypasses, 1),
        }
    }

    pub(super) fn saved(&self, tokens: u64) {
        add(&self.saved_tokens, tokens);
    }

    pub(super) fn lookup_failed(&self) {
        add(&self.lookup_failures, 1);
    }

    pub(super) fn found_corrupt(&self) {
        add(&self.corrupt, 1);
    }

    pub(super) fn written(&self) {
        add(&self.writes, 1);
    }

    pub(super) fn write_failed(&self) {
        add(&self.write_failures, 1);
    }

    pub(super) fn write_dropped(&self) {
        add(&self.dropped_writes, 1);
    }

    pub(super) fn was_too_large(&self) {
        add(&self.too_large, 1);
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}
