//! How a [`RedisCache`](super::RedisCache) reaches Redis and what it keeps there.

use std::time::Duration;

/// Options of a [`RedisCache`](super::RedisCache).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisOptions {
    /// `redis://[user][:password@]host[:port][/database][?protocol=resp3]`, or `unix://path`.
    pub url: String,
    /// Before every key, so that several users can share a database. Default: `llmo:`.
    pub prefix: String,
    /// Longest wait for one operation. Default: 20 ms.
    pub timeout: Duration,
    /// Longest wait for one step of an operation over many keys (`clear`, `remove_tag`). Default: 1 s.
    pub long_timeout: Duration,
    /// Longest wait for a connection; callers never wait for one. Default: 1 s.
    pub connect_timeout: Duration,
    /// Time to live of entries that were put without one. Default: `max_ttl`.
    pub default_ttl: Option<Duration>,
    /// Every entry is gone after this, whatever was asked for. Default: 7 days.
    pub max_ttl: Duration,
    /// Most bytes of a value. Default: 16 MiB.
    pub max_entry_bytes: u64,
    /// Timeouts in a row after which Redis is left alone for a while; a lost connection counts at once. Default: 3.
    pub failures_to_open: u32,
    /// No longer than this between two attempts to reach a Redis that failed. Default: 2 s.
    pub longest_pause: Duration,
}

impl RedisOptions {
    /// The defaults for the Redis at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "llmo:".into(),
            timeout: Duration::from_millis(20),
            long_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            default_ttl: None,
            max_ttl: Duration::from_secs(7 * 24 * 3600),
            max_entry_bytes: 16 << 20,
            failures_to_open: 3,
            longest_pause: Duration::from_secs(2),
        }
    }
}

impl std::fmt::Debug for RedisOptions {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("max_ttl", &self.max_ttl)
            .field("max_entry_bytes", &self.max_entry_bytes)
            .finish_non_exhaustive()
    }
}
