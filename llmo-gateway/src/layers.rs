//! What stands between the front end and the router, for each model.
//!
//! ```text
//!  ResponseCache ─► Coalesce ─► Admit ─► RoutedModel
//! ```
//!
//! Requests are counted above all of it ([`MeteredModels`](crate::metrics::MeteredModels)), above routes too: one that goes
//! on to a second model is still one request.
//!
//! Answers from the cache and shared generations need no admission: they cost a replica nothing.

use std::sync::Arc;
use std::time::Duration;

use llmo_cache::response::{ResponseCache, ResponseCachePolicy};
use llmo_config::{CacheConfig, Config};
use llmo_core::layers::{Coalesce, CoalesceOptions};
use llmo_core::model::Model;

use crate::admission::Admit;
use crate::dashboard::Sources;
use crate::layered::Wrap;

/// The layers that this configuration wants around every model.
#[must_use]
pub fn stack(config: &Config, sources: &Sources) -> Box<Wrap> {
    let policy = cache_policy(&config.cache);
    let gates = Arc::clone(&sources.gates);
    let cache = sources.cache.clone();
    Box::new(move |routed| {
        let limited = Arc::new(Admit::new(routed, &gates));
        let shared: Arc<dyn Model> = Arc::new(Coalesce::new(limited, CoalesceOptions::default()));
        match &cache {
            Some((cache, stats)) => {
                let (cache, stats) = (Arc::clone(cache), Arc::clone(stats));
                Arc::new(ResponseCache::with_stats(shared, cache, policy.clone(), stats))
            }
            None => shared,
        }
    })
}

fn cache_policy(config: &CacheConfig) -> ResponseCachePolicy {
    let mut policy = ResponseCachePolicy::default();
    policy.ttl = Some(Duration::from_secs(config.ttl_seconds)).filter(|ttl| !ttl.is_zero());
    policy.lookup_budget = Duration::from_millis(config.timeout_ms);
    policy.max_entry_bytes = usize::try_from(config.max_entry_bytes).unwrap_or(usize::MAX);
    policy
}
