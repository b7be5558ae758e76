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
    /// Counts the outcome of a get.
    pub(crate) fn got(&self, outcome: &Result<Option<Entry>, CacheError>) {
        match outcome {
            Ok(Some(_)) => add_one(&self.hits),
            Ok(None) => add_one(&self.misses),
            Err(_) => self.failed(),
        }
    }

    /// Counts the outcome of a put. An entry that is too large is the caller's affair, not a failure.
    pub(crate) fn put(&self, outcome: &Result<(), CacheError>) {
        match outcome {
            Ok(()) => add_one(&self.puts),
            Err(CacheError::TooLarge { .. } | CacheError::InvalidKey(_)) => {}
            Err(_) => self.failed(),
        }
    }

    #[cfg(feature = "memory")]
    pub(crate) fn evicted(&self) {
        add_one(&self.evictions);
    }

    pub(crate) fn failed(&self) {
        add_one(&self.errors);
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

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
