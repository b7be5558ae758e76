//! How busy the models of a process are: `llmo_queue_requests`, `llmo_running_requests`, `llmo_kv_cache_usage_ratio`.

use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::Models;
use llmo_core::model::{Load, Process, ResidenceState};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::labels::ModelNames;
use super::{Metrics, Refresh};

/// Tells how busy `models` are.
pub fn observe(metrics: &Metrics, models: Arc<dyn Models>) {
    let source = Arc::new(Source { models, names: ModelNames::default(), last: Mutex::default() });
    metrics.register(|registry| registry.register_collector(Box::new(Arc::clone(&source))));
    metrics.add_source(source);
}

/// What was seen of a model.
#[derive(Clone)]
struct Seen {
    name: Arc<str>,
    load: Load,
    process: Option<Process>,
}

struct Source {
    models: Arc<dyn Models>,
    names: ModelNames,
    last: Mutex<Vec<Seen>>,
}

#[async_trait]
impl Refresh for Source {
    async fn refresh(&self) {
        let mut loads = Vec::new();
        for info in self.models.list().await {
            // One that can't be had now has no load to tell, nor has one that is only on disk.
            if let Ok(model) = self.models.resolve(&info.id).await {
                let load = model.load();
                if load.residence.is_none_or(|residence| residence.state == ResidenceState::Loaded) {
                    loads.push(Seen { name: self.names.known(&info.id), load, process: model.process() });
                }
            }
        }
        *self.last.lock() = loads;
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let last = self.last.lock().clone();
        let loaded = encoder.encode_descriptor("llmo_models_loaded", "Models that answer", None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(last.len()).unwrap_or(i64::MAX)).encode(loaded)?;
        let gauges: [Gauge; 3] = [
            ("llmo_queue_requests", "Requests that wait for a slot", |load| f64::from(load.queued_requests)),
            ("llmo_running_requests", "Requests in a slot", |load| {
                f64::from(load.slots.saturating_sub(load.slots_free))
            }),
            ("llmo_kv_cache_usage_ratio", "Used share of the KV cache", |load| f64::from(load.kv_used)),
        ];
        for (name, help, value) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for Seen { name, load, .. } in &last {
                ConstGauge::new(value(load)).encode(family.encode_family(&[("model", &**name)])?)?;
            }
        }
        encode_processes(&mut encoder, &last)
    }
}

/// Those that run in processes of their own.
fn encode_processes(encoder: &mut DescriptorEncoder<'_>, last: &[Seen]) -> Result<(), std::fmt::Error> {
    let processes = || last.iter().filter_map(|seen| Some((&*seen.name, seen.process.as_ref()?)));
    let help = "Does the process of a model's engine answer?";
    let mut up = encoder.encode_descriptor("llmo_engine_up", help, None, MetricType::Gauge)?;
    for (model, process) in processes() {
        ConstGauge::new(i64::from(process.down.is_none())).encode(up.encode_family(&[("model", model)])?)?;
    }
    let help = "Deaths of the process of a model's engine";
    let mut restarts = encoder.encode_descriptor("llmo_engine_restarts", help, None, MetricType::Counter)?;
    for (model, process) in processes() {
        for (reason, &count) in &process.restarts {
            let labels = [("model", model), ("reason", reason)];
            ConstCounter::new(count).encode(restarts.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// Name, help, and how to read it off a load.
type Gauge = (&'static str, &'static str, fn(&Load) -> f64);
