//! Where the time of a generation went, and how it ended: under llmo's names, and under vLLM's.

use std::sync::Arc;
use std::time::Duration;

use llmo_core::FinishReason;
use llmo_core::model::{Finish, Usage};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::buckets;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Model {
    model: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VllmModel {
    model_name: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VllmFinished {
    model_name: Arc<str>,
    finished_reason: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Metrics of single generations.
#[derive(Debug, Clone)]
pub(super) struct ChoiceMetrics {
    queue: Histograms<Model>,
    prefill: Histograms<Model>,
    decode: Histograms<Model>,
    between: Histograms<Model>,
    vllm: Vllm,
}

/// The same under vLLM's names.
#[derive(Debug, Clone)]
struct Vllm {
    queue: Histograms<VllmModel>,
    prefill: Histograms<VllmModel>,
    decode: Histograms<VllmModel>,
    first_token: Histograms<VllmModel>,
    between: Histograms<VllmModel>,
    per_token: Histograms<VllmModel>,
    whole: Histograms<VllmModel>,
    prompt: Histograms<VllmModel>,
    generation: Histograms<VllmModel>,
    prompt_tokens: Family<VllmModel, Counter>,
    generation_tokens: Family<VllmModel, Counter>,
    success: Family<VllmFinished, Counter>,
}

fn family<L: Clone + std::hash::Hash + Eq>(constructor: fn() -> Histogram) -> Histograms<L> {
    Family::new_with_constructor(constructor)
}

fn durations<L: Clone + std::hash::Hash + Eq>() -> Histograms<L> {
    family(|| Histogram::new(buckets::DURATION))
}

fn per_token<L: Clone + std::hash::Hash + Eq>() -> Histograms<L> {
    family(|| Histogram::new(buckets::PER_TOKEN))
}

fn tokens<L: Clone + std::hash::Hash + Eq>() -> Histograms<L> {
    family(|| Histogram::new(buckets::TOKENS))
}

impl ChoiceMetrics {
    pub(super) fn register(registry: &mut Registry, vllm: &mut Registry) -> Self {
        let metrics = Self {
            queue: durations(),
            prefill: durations(),
            decode: durations(),
            between: per_token(),
            vllm: Vllm::register(vllm),
        };
        let families = [
            ("llmo_request_queue_seconds", "Time that a generation waited for a slot", &metrics.queue),
            ("llmo_request_prefill_seconds", "Time that a generation's prompt took to read", &metrics.prefill),
            ("llmo_request_decode_seconds", "Time that a generation took after its prompt", &metrics.decode),
            ("llmo_inter_token_seconds", "Time between two pieces of a generation", &metrics.between),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
        metrics
    }

    /// Where the times between the pieces of one generation go. Kept by whoever measures it: looking it up at each token
    /// would cost more than the rest.
    pub(super) fn between(&self, model: &Arc<str>) -> Between {
        Between {
            own: self.between.get_or_create(&Model { model: Arc::clone(model) }).clone(),
            vllm: self.vllm.between.get_or_create(&VllmModel { model_name: Arc::clone(model) }).clone(),
        }
    }

    /// The first piece of an answer came.
    pub(super) fn first_token(&self, model: &Arc<str>, after: Duration) {
        self.vllm.first_token.get_or_create(&VllmModel { model_name: Arc::clone(model) }).observe(after.as_secs_f64());
    }

    /// A generation ended as it should.
    pub(super) fn finished(&self, model: &Arc<str>, finish: &Finish) {
        let (own, vllm) = (Model { model: Arc::clone(model) }, VllmModel { model_name: Arc::clone(model) });
        let timings = finish.timings;
        for (time, ours, theirs) in [
            (timings.queue, &self.queue, &self.vllm.queue),
            (timings.prefill, &self.prefill, &self.vllm.prefill),
            (timings.decode, &self.decode, &self.vllm.decode),
        ] {
            ours.get_or_create(&own).observe(time.as_secs_f64());
            theirs.get_or_create(&vllm).observe(time.as_secs_f64());
        }
        let finished_reason = match finish.reason {
            FinishReason::Length => "length",
            _ => "stop",
        };
        self.vllm.success.get_or_create(&VllmFinished { model_name: Arc::clone(model), finished_reason }).inc();
    }

    /// A request was answered: all its generations together.
    pub(super) fn answered(&self, model: &Arc<str>, usage: Usage, whole: Duration, after_first: Option<Duration>) {
        let labels = VllmModel { model_name: Arc::clone(model) };
        let vllm = &self.vllm;
        vllm.whole.get_or_create(&labels).observe(whole.as_secs_f64());
        vllm.prompt.get_or_create(&labels).observe(usage.prompt_tokens as f64);
        vllm.generation.get_or_create(&labels).observe(usage.completion_tokens as f64);
        vllm.prompt_tokens.get_or_create(&labels).inc_by(usage.prompt_tokens);
        vllm.generation_tokens.get_or_create(&labels).inc_by(usage.completion_tokens);
        if let Some(time) = after_first.filter(|_| usage.completion_tokens > 1) {
            let each = time.as_secs_f64() / (usage.completion_tokens - 1) as f64;
            vllm.per_token.get_or_create(&labels).observe(each);
        }
    }
}

/// Where the times between the pieces of one generation go.
#[derive(Debug, Clone)]
pub(super) struct Between {
    own: Histogram,
    vllm: Histogram,
}

impl Between {
    pub(super) fn observe(&self, time: Duration) {
        self.own.observe(time.as_secs_f64());
        self.vllm.observe(time.as_secs_f64());
    }
}

impl Vllm {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            queue: durations(),
            prefill: durations(),
            decode: durations(),
            first_token: family(|| Histogram::new(buckets::FIRST_TOKEN)),
            between: per_token(),
            per_token: per_token(),
            whole: durations(),
            prompt: tokens(),
            generation: tokens(),
            prompt_tokens: Family::default(),
            generation_tokens: Family::default(),
            success: Family::default(),
        };
        let families = [
            ("vllm:request_queue_time_seconds", "Time in the queue", &metrics.queue),
            ("vllm:request_prefill_time_seconds", "Time in prefill", &metrics.prefill),
            ("vllm:request_decode_time_seconds", "Time in decode", &metrics.decode),
            ("vllm:time_to_first_token_seconds", "Time to the first token", &metrics.first_token),
            ("vllm:inter_token_latency_seconds", "Time between two tokens", &metrics.between),
            ("vllm:time_per_output_token_seconds", "Time for each token after the first", &metrics.per_token),
            ("vllm:e2e_request_latency_seconds", "Time from a request to the end of its answer", &metrics.whole),
            ("vllm:request_prompt_tokens", "Tokens of a request's prompt", &metrics.prompt),
            ("vllm:request_generation_tokens", "Tokens generated for a request", &metrics.generation),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
        registry.register("vllm:prompt_tokens", "Tokens of prompts", metrics.prompt_tokens.clone());
        registry.register("vllm:generation_tokens", "Tokens generated", metrics.generation_tokens.clone());
        registry.register("vllm:request_success", "Generations that ended as they should", metrics.success.clone());
        metrics
    }
}
