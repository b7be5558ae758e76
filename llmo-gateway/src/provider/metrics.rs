//! How sources do, counted.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of sources. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ProviderMetrics {
    reloads: Family<Reload, Counter>,
    successful: Family<Source, Gauge>,
    at: Family<Source, Gauge<f64, AtomicU64>>,
    replicas: Family<Source, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    provider: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    provider: String,
}

impl ProviderMetrics {
    /// Makes them appear in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "llmo_config_reloads",
            "New states of a source of replicas and routes: applied, refused, or not to be had (lost)",
            self.reloads.clone(),
        );
        registry.register(
            "llmo_config_last_reload_successful",
            "0 while the last state of a source was refused, or can't be had",
            self.successful.clone(),
        );
        registry.register(
            "llmo_config_last_reload_success_timestamp_seconds",
            "When the state of a source was applied last",
            self.at.clone(),
        );
        registry.register("llmo_discovered_replicas", "Replicas that a source names", self.replicas.clone());
    }

    pub(super) fn applied(&self, provider: &str, replicas: usize, changed: bool) {
        let source = Source { provider: provider.to_owned() };
        self.successful.get_or_create(&source).set(1);
        self.replicas.get_or_create(&source).set(i64::try_from(replicas).unwrap_or(i64::MAX));
        if changed {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            self.at.get_or_create(&source).set(now.as_secs_f64());
            self.count(provider, "applied");
        }
    }

    pub(super) fn failed(&self, provider: &str, outcome: &'static str) {
        self.still_wrong(provider);
        self.count(provider, outcome);
    }

    pub(super) fn still_wrong(&self, provider: &str) {
        self.successful.get_or_create(&Source { provider: provider.to_owned() }).set(0);
    }

    /// New states of this source so far that ended so.
    #[must_use]
    pub fn reloads(&self, provider: &str, outcome: &'static str) -> u64 {
        self.reloads.get_or_create(&Reload { provider: provider.to_owned(), outcome }).get()
    }

    /// Does its last state hold?
    #[must_use]
    pub fn is_well(&self, provider: &str) -> bool {
        self.successful.get_or_create(&Source { provider: provider.to_owned() }).get() == 1
    }

    fn count(&self, provider: &str, outcome: &'static str) {
        self.reloads.get_or_create(&Reload { provider: provider.to_owned(), outcome }).inc();
    }
}
