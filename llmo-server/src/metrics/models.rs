//! How busy the models of a process are, and what they have done since they were loaded: queue, slots, KV cache, prefix
//! cache, tokens. Read off [`Load`] at each scrape.

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
use super::process::Processes;
use super::{Metrics, Refresh};

/// Tells how busy `models` are.
pub fn observe(metrics: &Metrics, models: Arc<dyn Models>) {
    let source =
        Arc::new(Source { models, names: ModelNames::default(), last: Mutex::default(), processes: Processes::new() });
    metrics.register(|registry| registry.register_collector(Box::new(Arc::clone(&source))));
    let view = VllmView(Arc::clone(&source));
    metrics.register_vllm(|registry| registry.register_collector(Box::new(view)));
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
    processes: Option<Processes>,
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
        let help = "Time that the model took to load, the last time";
        let mut family =
            encoder.encode_descriptor("llmo_model_load_duration_seconds", help, None, MetricType::Gauge)?;
        for seen in &last {
            if let Some(took) = seen.load.residence.and_then(|residence| residence.loaded_in) {
                ConstGauge::new(took.as_secs_f64()).encode(family.encode_family(&[("model", &*seen.name)])?)?;
            }
        }
        encode(&mut encoder, "model", &last, &GAUGES, &COUNTERS)?;
        encode_processes(&mut encoder, &last, self.processes.as_ref())
    }
}

/// The same under vLLM's names.
#[derive(Debug)]
struct VllmView(Arc<Source>);

impl Collector for VllmView {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let last = self.0.last.lock().clone();
        encode(&mut encoder, "model_name", &last, &VLLM_GAUGES, &VLLM_COUNTERS)
    }
}

/// Those that run in processes of their own.
fn encode_processes(
    encoder: &mut DescriptorEncoder<'_>,
    last: &[Seen],
    memory: Option<&Processes>,
) -> Result<(), std::fmt::Error> {
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
    let help = "Memory of the process of a model's engine";
    let mut resident = encoder.encode_descriptor("llmo_engine_resident_memory_bytes", help, None, MetricType::Gauge)?;
    for (model, process) in processes() {
        if let Some(bytes) = process.id.zip(memory).and_then(|(id, memory)| memory.resident_bytes(id)) {
            ConstGauge::new(bytes as f64).encode(resident.encode_family(&[("model", model)])?)?;
        }
    }
    Ok(())
}

/// Name, help, and how to read it off a load.
type Gauge = (&'static str, &'static str, fn(&Load) -> f64);
/// The same of what only grows.
type Count = (&'static str, &'static str, fn(&Load) -> u64);

const GAUGES: [Gauge; 6] = [
    ("llmo_queue_requests", "Requests that wait for a slot", |load| load.queued_requests.into()),
    ("llmo_queue_tokens", "Prompt tokens of the requests that wait", |load| load.queued_tokens as f64),
    ("llmo_running_requests", "Requests in a slot", |load| running(load)),
    ("llmo_slots", "Sequences that can be decoded at once", |load| load.slots.into()),
    ("llmo_slots_free", "Of the slots, those that are free", |load| load.slots_free.into()),
    ("llmo_kv_cache_usage_ratio", "Used share of the KV cache", |load| load.kv_used.into()),
];

const COUNTERS: [Count; 6] = [
    ("llmo_prefix_cache_queries", "Prompt tokens looked up in the prefix cache", |load| load.prefix_query_tokens),
    ("llmo_prefix_cache_hits", "Prompt tokens found there and not computed", |load| load.prefix_hit_tokens),
    ("llmo_prefill_tokens", "Prompt tokens computed", |load| load.prefill_tokens),
    ("llmo_decode_tokens", "Tokens generated", |load| load.decode_tokens),
    ("llmo_draft_tokens", "Tokens guessed ahead", |load| load.draft_tokens),
    ("llmo_draft_accepted_tokens", "Tokens guessed ahead that were right", |load| load.draft_accepted_tokens),
];

const VLLM_GAUGES: [Gauge; 4] = [
    ("vllm:num_requests_running", "Requests in execution", |load| running(load)),
    ("vllm:num_requests_waiting", "Requests waiting", |load| load.queued_requests.into()),
    ("vllm:gpu_cache_usage_perc", "KV cache usage, 1 is 100 % (the older name)", |load| load.kv_used.into()),
    ("vllm:kv_cache_usage_perc", "KV cache usage, 1 is 100 %", |load| load.kv_used.into()),
];

const VLLM_COUNTERS: [Count; 4] = [
    ("vllm:prefix_cache_queries", "Tokens looked up in the prefix cache", |load| load.prefix_query_tokens),
    ("vllm:prefix_cache_hits", "Tokens found in the prefix cache", |load| load.prefix_hit_tokens),
    ("vllm:spec_decode_num_draft_tokens", "Tokens guessed ahead", |load| load.draft_tokens),
    ("vllm:spec_decode_num_accepted_tokens", "Tokens guessed ahead and accepted", |load| load.draft_accepted_tokens),
];

fn running(load: &Load) -> f64 {
    load.slots.saturating_sub(load.slots_free).into()
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    label: &'static str,
    models: &[Seen],
    gauges: &[Gauge],
    counters: &[Count],
) -> Result<(), std::fmt::Error> {
    for (name, help, value) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for Seen { name: model, load, .. } in models {
            ConstGauge::new(value(load)).encode(family.encode_family(&[(label, &**model)])?)?;
        }
    }
    for (name, help, value) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for Seen { name: model, load, .. } in models {
            ConstCounter::new(value(load)).encode(family.encode_family(&[(label, &**model)])?)?;
        }
    }
    Ok(())
}
