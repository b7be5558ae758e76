//! Bounds that every service keeps.

use serde::{Deserialize, Serialize};

/// Bounds that hold for every service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest request body (the storage service takes larger ones).
    pub max_body_bytes: usize,
    /// Longest wait for a request's headers.
    pub header_timeout_seconds: u64,
    /// Longest wait for a request's body.
    pub body_timeout_seconds: u64,
    /// Longest wait for a client that does not read.
    pub write_timeout_seconds: u64,
    /// Most open connections of one service.
    pub max_connections: usize,
    /// Longest time for one request; a request may ask for less.
    pub request_timeout_seconds: u64,
    /// On shutdown: go on accepting this long after becoming unready.
    pub drain_delay_ms: u64,
    /// On shutdown: running streams may go on this long.
    pub drain_grace_seconds: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 8 << 20,
            header_timeout_seconds: 10,
            body_timeout_seconds: 30,
            write_timeout_seconds: 60,
            max_connections: 4_096,
            request_timeout_seconds: 600,
            drain_delay_ms: 0,
            drain_grace_seconds: 30,
        }
    }
}
