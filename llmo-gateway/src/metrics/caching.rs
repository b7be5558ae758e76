//! Metrics of response caching. What the cache itself does (gets, evictions, size) is counted where it is made.

use std::sync::Arc;

use llmo_cache::response::ResponseCacheStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// What response caches counted, read at the moment of a scrape.
#[derive(Debug)]
pub struct CacheMetrics(pub Arc<ResponseCacheStats>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    result: &'static str,
}

impl Collector for CacheMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.counts();
        let help = "Requests by what the response cache did for them";
        let mut requests =
            encoder.encode_descriptor("llmo_response_cache_requests", help, None, MetricType::Counter)?;
        for (result, value) in [("hit", counts.hits), ("miss", counts.misses), ("bypass", counts.bypasses)] {
            ConstCounter::new(value).encode(requests.encode_family(&Answered { result })?)?;
        }
        let counters = [
            ("llmo_cache_saved_tokens", "Tokens that models did not have to read or write", counts.saved_tokens),
            ("llmo_response_cache_lookup_failures", "Lookups that failed or took too long", counts.lookup_failures),
            ("llmo_response_cache_write_failures", "Answers that the cache did not take", counts.write_failures),
            ("llmo_response_cache_corrupt", "Damaged entries found and removed", counts.corrupt),
        ];
        counters.into_iter().try_for_each(|(name, help, value)| {
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        })
    }
}
