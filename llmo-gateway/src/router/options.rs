//! Limits of a request's way through the gateway.

use std::time::Duration;

use llmo_config::GatewayConfig;

/// Limits of a request's way through the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterOptions {
    /// Most attempts for one request, the first included.
    pub max_attempts: u32,
    /// Retries may be this share of requests, in percent…
    pub retry_percent: u32,
    /// …but so many are always allowed in ten seconds.
    pub retry_minimum: u32,
    /// Longest wait for the first token (or for a whole answer that is not streamed), for each attempt.
    pub first_token_timeout: Duration,
    /// Longest wait between two tokens.
    pub idle_timeout: Duration,
    /// What callers are told to wait when no replica can serve.
    pub retry_after: Duration,
    /// How long a broken stream looks for a replica that goes on with it; zero: it isn't continued.
    pub continuation_timeout: Duration,
    /// A request without a first token after the time in which so many percent of requests have theirs is sent to a second
    /// replica too, and the first to answer serves it; 0: never.
    pub hedge_percentile: u32,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self::from(&GatewayConfig::default())
    }
}

impl From<&GatewayConfig> for RouterOptions {
    fn from(config: &GatewayConfig) -> Self {
        Self {
            max_attempts: config.max_attempts.max(1),
            retry_percent: config.retry_budget_percent,
            retry_minimum: config.retry_budget_min,
            first_token_timeout: Duration::from_secs(config.first_token_timeout_seconds),
            idle_timeout: Duration::from_secs(config.idle_timeout_seconds),
            retry_after: Duration::from_secs(1),
            continuation_timeout: Duration::from_secs(config.continuation_timeout_seconds),
            hedge_percentile: config.hedge_percentile.min(99),
        }
    }
}
