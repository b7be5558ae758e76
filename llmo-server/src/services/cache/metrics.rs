//! `/metrics` of the cache service: the counters of its cache.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use llmo_core::CacheStats;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Service;
use super::answer::Refusal;

type Labels = Vec<(&'static str, &'static str)>;

/// `GET /metrics`. The cache counts for itself, so a registry is made for each scrape.
pub(super) async fn scrape(State(service): State<Service>) -> Result<Response, Refusal> {
    let text = render(&service.cache.stats().await?, service.cache.tier());
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

fn render(stats: &CacheStats, tier: &'static str) -> String {
    let mut registry = Registry::with_prefix("llmo_cache");
    let counters = [
        ("hits", "Gets that found something", stats.hits),
        ("misses", "Gets that found nothing", stats.misses),
        ("puts", "Puts", stats.puts),
        ("evictions", "Entries removed to make room or because their time had come", stats.evictions),
        ("errors", "Operations that failed", stats.errors),
    ];
    for (name, help, value) in counters {
        let family = Family::<Labels, Counter>::default();
        family.get_or_create(&vec![("tier", tier)]).inc_by(value);
        registry.register(name, help, family);
    }
    for (name, help, value) in [("entries", "Entries now", stats.entries), ("bytes", "Bytes now", stats.bytes)] {
        let family = Family::<Labels, Gauge>::default();
        family.get_or_create(&vec![("tier", tier)]).set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, family);
    }
    let mut text = String::new();
    if let Err(error) = encode(&mut text, &registry) {
        // Writing to a String does not fail.
        tracing::error!(%error, "metrics can't be rendered");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_their_names_and_their_tier() {
        let mut stats = CacheStats::default();
        (stats.hits, stats.misses, stats.bytes) = (3, 2, 1000);
        let text = render(&stats, "memory");
        assert!(text.contains("llmo_cache_hits_total{tier=\"memory\"} 3\n"), "{text}");
        assert!(text.contains("llmo_cache_misses_total{tier=\"memory\"} 2\n"), "{text}");
        assert!(text.contains("llmo_cache_bytes{tier=\"memory\"} 1000\n"), "{text}");
    }
}
