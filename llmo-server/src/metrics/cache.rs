//! A cache's own counters: `llmo_cache_{hits,misses,evictions}_total{tier}` and its size.

use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::{Cache, CacheStats};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Metrics, Refresh};

/// Counts what `cache` does.
pub fn observe(metrics: &Metrics, cache: Arc<dyn Cache>) {
    let source = Arc::new(Source { tier: cache.tier(), cache, last: Mutex::default() });
    metrics.register(|registry| registry.register_collector(Box::new(Arc::clone(&source))));
    metrics.add_source(source);
}

struct Source {
    tier: &'static str,
    cache: Arc<dyn Cache>,
    last: Mutex<CacheStats>,
}

#[async_trait]
impl Refresh for Source {
    async fn refresh(&self) {
        match self.cache.stats().await {
            Ok(stats) => *self.last.lock() = stats,
            Err(error) => tracing::debug!(%error, "a cache did not tell its counters"),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("tier", &self.tier).finish_non_exhaustive()
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stats = *self.last.lock();
        let labels = [("tier", self.tier)];
        let counters = [
            ("llmo_cache_hits", "Gets that found something", stats.hits),
            ("llmo_cache_misses", "Gets that found nothing", stats.misses),
            ("llmo_cache_evictions", "Entries removed to make room, or because their time had come", stats.evictions),
            ("llmo_cache_errors", "Operations that failed", stats.errors),
        ];
        for (name, help, value) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        let gauges = [
            ("llmo_cache_entries", "Entries now", stats.entries),
            ("llmo_cache_bytes", "Bytes now, keys and values", stats.bytes),
        ];
        for (name, help, value) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
