//! Why a gateway can't start or go on.

use std::path::PathBuf;

use llmo_server::http::BindError;
use llmo_server::wiring::WiringError;

/// Why a gateway can't start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// An upstream's address is no URL that can be used.
    #[error("gateway.upstreams: {url:?} {reason}; give base URLs such as http://127.0.0.1:8081")]
    InvalidUpstream {
        /// What was given, without credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Tenants' limits can't be counted as the configuration says.
    #[error(
        "gateway.limits_backend is redis, and cache.redis_url is not usable: {0}; it looks like redis://127.0.0.1:6379/0"
    )]
    Limits(String),
    /// The API keys can't be read.
    #[error("gateway.keys_file: {0}")]
    Keys(String),
    /// The usage can't be written down.
    #[error("gateway.usage_file: {}: {source}; leave it empty to write no usage", path.display())]
    Usage {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Upstreams, routes or discovery are configured in a way that can't work.
    #[error("{0}")]
    Discovery(String),
    /// The response cache can't be made as the configuration says.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// No HTTP client could be made for health checks.
    #[error("cannot make an HTTP client for health checks")]
    Client(#[source] reqwest::Error),
    /// A port can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate can't be used, or its setting is only half there.
    #[error("tls: {0}")]
    Tls(String),
    /// The listening socket failed.
    #[error("the server stopped")]
    Serve(#[from] std::io::Error),
}
