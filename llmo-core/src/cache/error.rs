//! What can go wrong with a cache.

/// Result of a cache operation.
pub type Result<T, E = CacheError> = std::result::Result<T, E>;

/// Why a cache could not do something. Callers count it and go on without the cache.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The cache can't be reached or refuses to work.
    #[error("the cache is unavailable: {0}")]
    Unavailable(String),
    /// It did not answer in time.
    #[error("the cache did not answer within its deadline")]
    Timeout,
    /// The entry is larger than the cache allows.
    #[error("an entry of {size} bytes is larger than the cache allows ({limit})")]
    TooLarge {
        /// Size of the entry in bytes.
        size: u64,
        /// The cache's limit in bytes.
        limit: u64,
    },
    /// The key is not one.
    #[error("invalid cache key: {0}")]
    InvalidKey(String),
    /// What is stored is not what was put: it was removed.
    #[error("the cache entry is damaged: {0}")]
    Corrupt(String),
}
