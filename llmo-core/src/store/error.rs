//! What can go wrong with a store.

/// Result of a store operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a store could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The path is not one, or leads outside the store.
    #[error("invalid path {path:?}: {reason}")]
    InvalidPath {
        /// What was given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The range starts past the end.
    #[error("the range starts at {offset}, but the object has {size} bytes")]
    InvalidRange {
        /// First byte asked for.
        offset: u64,
        /// Size of the object.
        size: u64,
    },
    /// The bytes are not the expected ones. Nothing was stored.
    #[error("{path}: expected sha256 {expected}, got {actual}: the transfer was damaged or the source changed")]
    HashMismatch {
        /// The object.
        path: String,
        /// The hash it should have.
        expected: String,
        /// The hash it has.
        actual: String,
    },
    /// Fewer or more bytes than expected. Nothing was stored.
    #[error("{path}: expected {expected} bytes, got {actual}")]
    SizeMismatch {
        /// The object.
        path: String,
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        actual: u64,
    },
    /// The disk is full. Nothing was stored.
    #[error("no space left for {0}: free some, or set another directory for models (store.dir)")]
    NoSpace(String),
    /// Not allowed to read or write here.
    #[error("permission denied: {0}")]
    Permission(String),
    /// The store can't be reached right now.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Anything else the file system said.
    #[error("{context}")]
    Io {
        /// What was being done.
        context: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
