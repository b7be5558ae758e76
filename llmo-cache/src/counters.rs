//! What a cache counts about itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use llmo_core::{CacheError, CacheStats, Entry};

/// Counters of one cache since its start. They are independent of each other: a reader may see one of two counts that
/// belong together.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    puts: AtomicU64,
    evictions: AtomicU64,
    errors: AtomicU64,
}

impl Counters {
    /// Counts the outcome of a get..
    pub(crate) fn got(&self, outcome: &Result<Option<Entry>, CacheError>) {
        match outcome {
            Ok(Some(_)) => self.hit(),
            Ok(None) => self.miss(),
            Err(_) => self.failed(),
        }
    }

    pub(crate) fn hit(&self) {
        self.hits.fetch_add(1, Relaxed);
    }

    pub(crate) fn miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    /// Counts the outcome of a put. An entry that is too large is the caller's affair, not a failure.
    pub(crate) fn put(&self, outcome: &Result<(), CacheError>) {
        match outcome {
            Ok(()) => {
                self.puts.fetch_add(1, Relaxed);
            }
            Err(CacheError::TooLarge { .. } | CacheError::InvalidKey(_)) => {}
            Err(_) => self.failed(),
        }
    }

    #[cfg(feature = "memory")]
    pub(crate) fn evicted(&self) {
        self.evictions.fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// The counts now, with nothing known of the size.
    pub(crate) fn stats(&self) -> CacheStats {
        let mut stats = CacheStats::default();
        stats.hits = self.hits.load(Relaxed);
        stats.misses = self.misses.load(Relaxed);
        stats.puts = self.puts.load(Relaxed);
        stats.evictions = self.evictions.load(Relaxed);
        stats.errors = self.errors.load(Relaxed);
        stats
    }
}
