//! Metrics of routing: retries, and the state of every replica.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::replica::{Pool, ReplicaState};
use crate::router::Fate;

/// Counters of the router. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RouterMetrics {
    retries: Family<Reason, Counter>,
    budget_exhausted: Counter,
    continuations: Family<Outcome, Counter>,
    hedges: Counter,
    hedges_won: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl RouterMetrics {
    /// Makes them appear in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "llmo_backend_retries",
            "Attempts after the first one, by what happened before",
            self.retries.clone(),
        );
        registry.register(
            "llmo_backend_retry_budget_exhausted",
            "Retries not made because the retry budget was empty",
            self.budget_exhausted.clone(),
        );
        registry.register(
            "llmo_stream_continuations",
            "Streams that broke after their first token, by whether another replica went on with them",
            self.continuations.clone(),
        );
        registry.register(
            "llmo_hedges",
            "Requests sent to a second replica for want of a first token",
            self.hedges.clone(),
        );
        registry.register("llmo_hedges_won", "Of these, those that the second replica served", self.hedges_won.clone());
    }

    /// Counts a request that was sent to a second replica, or one that the second replica served.
    pub(crate) fn hedged(&self, won: bool) {
        if won {
            self.hedges_won.inc()
        } else {
            self.hedges.inc()
        };
    }

    /// Requests sent to a second replica so far, and those that it served.
    #[must_use]
    pub fn hedges(&self) -> (u64, u64) {
        (self.hedges.get(), self.hedges_won.get())
    }

    /// Counts a stream that broke: it goes on elsewhere, or ends.
    pub(crate) fn continued(&self, goes_on: bool) {
        let outcome = if goes_on { "continued" } else { "failed" };
        self.continuations.get_or_create(&Outcome { outcome }).inc();
    }

    /// Streams that went on elsewhere so far.
    #[must_use]
    pub fn continuations(&self) -> u64 {
        self.continuations.get_or_create(&Outcome { outcome: "continued" }).get()
    }

    /// Counts a retry, for what happened before it.
    pub(crate) fn retried(&self, after: Fate) {
        self.retries.get_or_create(&Reason { reason: after.as_str() }).inc();
    }

    /// Counts a retry that the budget forbade.
    pub(crate) fn out_of_budget(&self) {
        self.budget_exhausted.inc();
    }

    /// All retries so far.
    #[must_use]
    pub fn retries(&self) -> u64 {
        let of = |fate: Fate| self.retries.get_or_create(&Reason { reason: fate.as_str() }).get();
        of(Fate::Busy) + of(Fate::Lost) + of(Fate::Failed)
    }
}

/// The state of the replicas, read at the moment of a scrape.
#[derive(Debug)]
pub struct PoolMetrics(pub Arc<Pool>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplicaLabel {
    replica: String,
}

impl Collector for PoolMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let now = std::time::Instant::now();
        let snapshot = Arc::clone(&self.0.snapshot());
        let mut gauge = |name: &str, help: &str, value: &dyn Fn(&ReplicaState) -> u32| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            snapshot.replicas.iter().try_for_each(|state| {
                let labels = ReplicaLabel { replica: state.replica.id().to_owned() };
                ConstGauge::new(value(state)).encode(metric.encode_family(&labels)?)
            })
        };
        gauge("llmo_backend_up", "1 while the replica can be used", &|state| u32::from(state.health.usable(now)))?;
        gauge("llmo_circuit_state", "0: closed, 1: ejected for failures", &|state| {
            u32::from(state.health.outlier.ejected_until(now).is_some())
        })?;
        gauge("llmo_backend_in_flight", "Requests that this gateway has running there", &|state| {
            state.replica.in_flight()
        })?;
        let help = "Changes of replicas' states";
        let mut events = encoder.encode_descriptor("llmo_backend_events", help, None, MetricType::Counter)?;
        for event in ["up", "not-ready", "down", "ejected", "released"] {
            let count = ConstCounter::new(self.0.events().count(event));
            count.encode(events.encode_family(&[("event", event)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::replica::{OutlierOptions, Replica};

    #[test]
    fn every_replica_has_its_gauges_and_counters_have_their_names() {
        let mut registry = Registry::default();
        let metrics = RouterMetrics::default();
        metrics.register(&mut registry);
        metrics.retried(Fate::Lost);
        let now = Instant::now();
        let replicas = vec![Arc::new(Replica::new("http://127.0.0.1:1", now))];
        let pool = Pool::new(replicas, OutlierOptions::default(), Box::new(|_, _| Err("unused".into())), now);
        registry.register_collector(Box::new(PoolMetrics(Arc::new(pool))));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("strings take anything");
        for line in [
            "llmo_backend_up{replica=\"127.0.0.1:1\"} 0",
            "llmo_circuit_state{replica=\"127.0.0.1:1\"} 0",
            "llmo_backend_in_flight{replica=\"127.0.0.1:1\"} 0",
            "llmo_backend_retries_total{reason=\"lost\"} 1",
            "llmo_backend_events_total{event=\"ejected\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
