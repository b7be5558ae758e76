//! What a [`ResponseCache`](super::ResponseCache) keeps, and how long anybody waits for it.

use std::time::Duration;

/// Limits of a response cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseCachePolicy {
    /// How long an answer is kept; `None`: until it is evicted. Default: one hour.
    pub ttl: Option<Duration>,
    /// Longest wait for the cache before a request goes on without it. Default: 20 ms.
    pub lookup_budget: Duration,
    /// Longest time for one write, in the background. Default: 1 s.
    pub write_timeout: Duration,
    /// Writes under way at once; more are dropped, and counted. Default: 64.
    pub max_pending_writes: usize,
    /// Larger answers are not kept; in bytes, about as stored. Default: 1 MiB.
    pub max_entry_bytes: usize,
    /// Cache generated text. Default: yes.
    pub generations: bool,
    /// Cache embedding vectors. Default: yes.
    pub embeddings: bool,
}

impl Default for ResponseCachePolicy {
    fn default() -> Self {
        Self {
            ttl: Some(Duration::from_secs(3600)),
            lookup_budget: Duration::from_millis(20),
            write_timeout: Duration::from_secs(1),
            max_pending_writes: 64,
            max_entry_bytes: 1 << 20,
            generations: true,
            embeddings: true,
        }
    }
}
