//! How much each tenant may use in a minute, however idle the replicas are.
//!
//! * [`Buckets`]: counted in this process, pure.
//! * [`Shared`]: counted in Redis, for several gateways together.
//! * [`Allowance`]: the one or the other; while Redis does not answer, each gateway counts for itself.

mod buckets;
mod shared;

use std::time::{Duration, Instant};

use llmo_config::{Config, LimitsBackend};
use llmo_core::model::{ModelError, Result};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;

pub use buckets::Buckets;
pub use shared::Shared;

use crate::GatewayError;

/// A limit on the tokens of each tenant: prompts, and as much output as they may get.
#[derive(Debug)]
pub struct Allowance {
    per_minute: u64,
    shared: Option<Shared>,
    local: Mutex<Buckets>,
    locally: Counter,
}

impl Allowance {
    /// As configured; `None`: no limit.
    ///
    /// # Errors
    /// [`GatewayError::Limits`] if Redis' URL is none.
    pub fn new(config: &Config) -> Result<Option<Self>, GatewayError> {
        let per_minute = config.gateway.tenant_tokens_per_minute;
        if per_minute == 0 {
            return Ok(None);
        }
        let shared = match config.gateway.limits_backend {
            LimitsBackend::Redis => Some(Shared::new(&config.cache.redis_url).map_err(GatewayError::Limits)?),
            _ => None,
        };
        let local = Mutex::new(Buckets::new(per_minute));
        Ok(Some(Self { per_minute, shared, local, locally: Counter::default() }))
    }

    /// Takes so many tokens off.
    ///
    /// # Errors
    /// [`ModelError::Overloaded`] if the tenant has used up its minute: says when there is enough again.
    pub async fn take(&self, tenant: &str, tokens: u64) -> Result<()> {
        let shared = match &self.shared {
            Some(shared) => {
                let answer = shared.take(tenant, tokens, self.per_minute).await;
                if answer.is_none() {
                    self.locally.inc();
                }
                answer
            }
            None => None,
        };
        let verdict = shared.unwrap_or_else(|| self.local.lock().take(tenant, tokens, Instant::now()));
        verdict.map_err(|wait| ModelError::Overloaded {
            reason: format!("the limit of {} tokens a minute is reached", self.per_minute),
            retry_after: wait.max(Duration::from_secs(1)),
        })
    }

    /// Requests that were counted here because Redis did not answer.
    #[must_use]
    pub fn counted_locally(&self) -> &Counter {
        &self.locally
    }
}
