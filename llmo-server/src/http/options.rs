//! Limits of a server's connections.

use std::time::Duration;

use llmo_config::LimitsConfig;

use super::tls::Tls;

/// How [`serve`](super::serve) treats connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServeOptions {
    /// A connection whose request line and headers take longer is answered with 408 and closed.
    pub header_timeout: Duration,
    /// A connection without a request is closed after this long.
    pub idle_timeout: Duration,
    /// A client that takes nothing of what is sent to it for this long is cut.
    pub write_timeout: Duration,
    /// Most connections at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Most headers of a request; more is 431.
    pub max_headers: usize,
    /// Most bytes of a request's line and headers; more is 431. Also the size of hyper's buffers.
    pub max_header_bytes: usize,
    /// Most requests at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// Speak TLS; `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// On shutdown: connections are still accepted for this long, while `/readyz` already says no.
    pub drain_delay: Duration,
    /// On shutdown, after the delay: what runs may go on for this long.
    pub drain_grace: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self::from(&LimitsConfig::default())
    }
}

impl From<&LimitsConfig> for ServeOptions {
    fn from(limits: &LimitsConfig) -> Self {
        Self {
            header_timeout: Duration::from_secs(limits.header_timeout_seconds),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(limits.write_timeout_seconds),
            max_connections: limits.max_connections,
            max_headers: 100,
            max_header_bytes: 16 << 10,
            max_streams: 128,
            tls: None,
            drain_delay: Duration::from_millis(limits.drain_delay_ms),
            drain_grace: Duration::from_secs(limits.drain_grace_seconds),
        }
    }
}
