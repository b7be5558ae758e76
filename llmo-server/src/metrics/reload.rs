//! Whether what was last read anew (routes, certificates, …) could be used.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: &'static str,
}

/// `llmo_config_last_reload_successful` and its like. A source is a short fixed name: `settings`, `routes`, `tls`, …
///
/// Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct ReloadMetrics {
    successful: Family<Source, Gauge>,
    at: Family<Source, Gauge>,
    failures: Family<Source, Counter>,
}

impl ReloadMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "llmo_config_last_reload_successful",
            "1 if what was last read of this source is in use, 0 if it was refused and the old one stays",
            metrics.successful.clone(),
        );
        registry.register(
            "llmo_config_last_reload_success_timestamp_seconds",
            "When something of this source was last taken into use, in seconds since 1970",
            metrics.at.clone(),
        );
        registry.register("llmo_config_reload_failures", "Changes that were refused", metrics.failures.clone());
        // This process would not be here otherwise.
        metrics.loaded("settings");
        metrics
    }

    /// What was read of `source` is in use.
    pub fn loaded(&self, source: &'static str) {
        let source = Source { source };
        self.successful.get_or_create(&source).set(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.at.get_or_create(&source).set(i64::try_from(now).unwrap_or(i64::MAX));
        // Counters must be there before they count, or nobody sees the first failure as an increase.
        drop(self.failures.get_or_create(&source));
    }

    /// What was read of `source` was refused; the old one stays.
    pub fn failed(&self, source: &'static str) {
        let source = Source { source };
        self.successful.get_or_create(&source).set(0);
        self.failures.get_or_create(&source).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_change_is_told_until_a_good_one_comes() {
        let mut registry = Registry::default();
        let metrics = ReloadMetrics::register(&mut registry);
        let text = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).expect("strings take anything");
            text
        };
        assert!(text(&registry).contains("llmo_config_last_reload_successful{source=\"settings\"} 1"));
        metrics.loaded("routes");
        assert!(text(&registry).contains("llmo_config_reload_failures_total{source=\"routes\"} 0"));
        metrics.failed("routes");
        assert!(text(&registry).contains("llmo_config_last_reload_successful{source=\"routes\"} 0"));
        assert!(text(&registry).contains("llmo_config_reload_failures_total{source=\"routes\"} 1"));
        metrics.loaded("routes");
        assert!(text(&registry).contains("llmo_config_last_reload_successful{source=\"routes\"} 1"));
    }
}
