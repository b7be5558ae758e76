//! Bounds of a front end.

use std::sync::Arc;
use std::time::Duration;

use llmo_config::{LimitsConfig, TenantFrom};

use crate::http::body::BodyLimits;
use crate::metrics::{Metrics, Role};

/// How a front end treats requests.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FrontendOptions {
    /// Bounds of request bodies.
    pub body: BodyLimits,
    /// Longest time for one request; a request may ask for less (`x-llmo-deadline-ms`).
    pub request_timeout: Duration,
    /// A quiet stream gets a comment this often, so that proxies leave it open.
    pub heartbeat: Duration,
    /// A reader of a stream over HTTP/2 that takes nothing for this long is cut. Over HTTP/1 that is
    /// [`ServeOptions::write_timeout`](crate::http::ServeOptions::write_timeout)'s.
    pub stall_timeout: Duration,
    /// Most bytes of a stream that wait for its reader, over HTTP/2.
    pub stream_buffer_bytes: usize,
    /// Every answer says why its replica was chosen (`x-llmo-route`), not only those whose requests ask for it.
    pub explain_route: bool,
    /// What tells tenants apart.
    pub tenant_from: TenantFrom,
    /// What the process counts.
    pub metrics: Arc<Metrics>,
}

impl FrontendOptions {
    /// Bounds from the configuration.
    #[must_use]
    pub fn new(limits: &LimitsConfig, metrics: Arc<Metrics>) -> Self {
        Self {
            body: BodyLimits::from(limits),
            request_timeout: Duration::from_secs(limits.request_timeout_seconds),
            heartbeat: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(limits.write_timeout_seconds),
            // With hyper's buffers (16 KiB) and what the kernel may hold back unsent (16 KiB), 64 KiB together.
            stream_buffer_bytes: 32 << 10,
            explain_route: false,
            tenant_from: TenantFrom::Header,
            metrics,
        }
    }
}

impl Default for FrontendOptions {
    fn default() -> Self {
        Self::new(&LimitsConfig::default(), Metrics::new(Role::ModelService))
    }
}
