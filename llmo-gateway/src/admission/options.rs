//! Bounds of admission.

use std::collections::BTreeMap;
use std::time::Duration;

use llmo_config::GatewayConfig;

/// How much at once, and how long a queue.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AdmissionOptions {
    /// Most requests of one model that run at once.
    pub running: usize,
    /// Most requests of one model that wait.
    pub queued: usize,
    /// Longest wait.
    pub longest_wait: Duration,
    /// Shares of tenants relative to others, where they are not 1.
    pub weights: BTreeMap<String, f64>,
}

impl From<&GatewayConfig> for AdmissionOptions {
    fn from(config: &GatewayConfig) -> Self {
        Self {
            running: config.max_concurrent.max(1),
            queued: config.max_queued,
            longest_wait: Duration::from_secs(config.max_queue_seconds),
            weights: config.tenant_weights.clone(),
        }
    }
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        Self::from(&GatewayConfig::default())
    }
}
