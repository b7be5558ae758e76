//! Loads that failed, as metrics: models that are not there can't tell it themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::LocalModels;
use super::shelf::Shelf;
use crate::metrics::labels::ModelNames;
use crate::metrics::{self, Metrics};

impl LocalModels {
    /// Makes what these models do appear among `metrics`.
    pub fn register(self: &Arc<Self>, metrics: &Metrics) {
        metrics::models::observe(metrics, Arc::clone(self) as _);
        let loads = Loads { shelf: Arc::clone(&self.shelf), names: ModelNames::default() };
        metrics.register(|registry| registry.register_collector(Box::new(loads)));
    }
}

struct Loads {
    shelf: Arc<Shelf>,
    names: ModelNames,
}

impl std::fmt::Debug for Loads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loads").finish_non_exhaustive()
    }
}

impl Collector for Loads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Loads of models that failed for another reason than a lack of room";
        let failures = encoder.encode_descriptor("llmo_model_load_failures", help, None, MetricType::Counter)?;
        ConstCounter::new(self.shelf.load_failures.load(Ordering::Relaxed)).encode(failures)?;
        let help = "1 while the model is not in memory because its last load failed";
        let mut failed = encoder.encode_descriptor("llmo_model_load_failed", help, None, MetricType::Gauge)?;
        for entry in self.shelf.all() {
            let name = self.names.known(&entry.id);
            ConstGauge::new(i64::from(entry.load_failed())).encode(failed.encode_family(&[("model", &*name)])?)?;
        }
        Ok(())
    }
}
