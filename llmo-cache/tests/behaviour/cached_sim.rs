//! A simulated model behind a response cache in memory.

use std::sync::Arc;
use std::time::Duration;

use llmo_backends::sim::{SimModel, SimOptions, SimText};
use llmo_cache::memory::{MemoryCache, MemoryOptions};
use llmo_cache::response::{ResponseCache, ResponseCachePolicy};

use crate::eventually::eventually;

pub(crate) struct Setup {
    pub(crate) sim: Arc<SimModel>,
    pub(crate) memory: Arc<MemoryCache>,
    pub(crate) cached: ResponseCache,
}

pub(crate) fn setup_with(options: SimOptions, policy: ResponseCachePolicy) -> Setup {
    let sim = Arc::new(SimModel::new(options));
    let memory = Arc::new(MemoryCache::new(MemoryOptions::default()));
    let cached = ResponseCache::new(sim.clone(), memory.clone(), policy);
    Setup { sim, memory, cached }
}

/// A patient policy: a busy test machine must not turn hits into bypasses.
pub(crate) fn policy() -> ResponseCachePolicy {
    let mut policy = ResponseCachePolicy::default();
    policy.lookup_budget = Duration::from_secs(5);
    policy
}

pub(crate) fn setup() -> Setup {
    let mut options = SimOptions::default();
    options.text = SimText::Tagged;
    setup_with(options, policy())
}

/// Waits until so many answers are written.
pub(crate) async fn written(cached: &ResponseCache, writes: u64) {
    eventually("the answer is written", async || cached.stats().counts().writes == writes).await;
}
