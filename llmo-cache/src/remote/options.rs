//! How a [`RemoteCache`](super::RemoteCache) asks its service.

use std::time::Duration;

/// Options of a [`RemoteCache`](super::RemoteCache).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteOptions {
    /// Longest wait for one operation. Default: 20 ms.
    pub timeout: Duration,
    /// Longest wait for an operation over many keys (`clear`, `remove_tag`, `stats`). Default: 2 s.
    pub long_timeout: Duration,
    /// Longest wait for a connection. Default: 1 s.
    pub connect_timeout: Duration,
    /// Most bytes of a value, sent or received. Default: 16 MiB.
    pub max_entry_bytes: u64,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(20),
            long_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            max_entry_bytes: 16 << 20,
        }
    }
}
