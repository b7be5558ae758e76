//! Where the time of a generation went, and how it ended: under llmo's names, and under vLLM's.

use std::sync::{Arc, OnceLock};
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

    /// The series of one model.
    pub(super) fn of(&self, model: &Arc<str>) -> ChoiceSeries {
        let labels = (Model { model: Arc::clone(model) }, VllmModel { model_name: Arc::clone(model) });
        ChoiceSeries {
            metrics: self.clone(),
            labels,
            waits: OnceLock::new(),
            between: OnceLock::new(),
            first_token: OnceLock::new(),
            answers: OnceLock::new(),
            per_token: OnceLock::new(),
            stopped: OnceLock::new(),
            cut: OnceLock::new(),
        }
    }
}

/// A time under llmo's name and under vLLM's.
type Both = (Histogram, Histogram);

/// The series of one model, each looked up when it is needed first. To look all of them up for each request would cost as much as
/// to read it.
#[derive(Debug)]
pub(super) struct ChoiceSeries {
    metrics: ChoiceMetrics,
    labels: (Model, VllmModel),
    /// In the queue, in prefill, in decode.
    waits: OnceLock<[Both; 3]>,
    between: OnceLock<Both>,
    first_token: OnceLock<Histogram>,
    answers: OnceLock<Answers>,
    per_token: OnceLock<Histogram>,
    stopped: OnceLock<Counter>,
    cut: OnceLock<Counter>,
}

/// What vLLM tells of whole answers.
#[derive(Debug)]
struct Answers {
    whole: Histogram,
    prompt: Histogram,
    generation: Histogram,
    prompt_tokens: Counter,
    generation_tokens: Counter,
}

impl ChoiceSeries {
    /// So much time lay between two pieces of one generation.
    pub(super) fn between(&self, time: Duration) {
        let metrics = &self.metrics;
        observe(self.between.get_or_init(|| self.both(&metrics.between, &metrics.vllm.between)), time);
    }

    /// The first piece of an answer came.
    pub(super) fn first_token(&self, after: Duration) {
        let found = || self.metrics.vllm.first_token.get_or_create_owned(&self.labels.1);
        self.first_token.get_or_init(found).observe(after.as_secs_f64());
    }

    /// A generation ended as it should.
    pub(super) fn finished(&self, finish: &Finish) {
        let (own, vllm) = (&self.metrics, &self.metrics.vllm);
        let [queue, prefill, decode] = self.waits.get_or_init(|| {
            [
                self.both(&own.queue, &vllm.queue),
                self.both(&own.prefill, &vllm.prefill),
                self.both(&own.decode, &vllm.decode),
            ]
        });
        observe(queue, finish.timings.queue);
        observe(prefill, finish.timings.prefill);
        observe(decode, finish.timings.decode);
        let (counter, finished_reason) = match finish.reason {
            FinishReason::Length => (&self.cut, "length"),
            _ => (&self.stopped, "stop"),
        };
        let model_name = || Arc::clone(&self.labels.1.model_name);
        let found = || vllm.success.get_or_create_owned(&VllmFinished { model_name: model_name(), finished_reason });
        counter.get_or_init(found).inc();
    }

    /// A request was answered: all its generations together.
    pub(super) fn answered(&self, usage: Usage, whole: Duration, after_first: Option<Duration>) {
        let (vllm, labels) = (&self.metrics.vllm, &self.labels.1);
        let answers = self.answers.get_or_init(|| Answers {
            whole: vllm.whole.get_or_create_owned(labels),
            prompt: vllm.prompt.get_or_create_owned(labels),
            generation: vllm.generation.get_or_create_owned(labels),
            prompt_tokens: vllm.prompt_tokens.get_or_create_owned(labels),
            generation_tokens: vllm.generation_tokens.get_or_create_owned(labels),
        });
        answers.whole.observe(whole.as_secs_f64());
        answers.prompt.observe(usage.prompt_tokens as f64);
        answers.generation.observe(usage.completion_tokens as f64);
        answers.prompt_tokens.inc_by(usage.prompt_tokens);
        answers.generation_tokens.inc_by(usage.completion_tokens);
        if let Some(time) = after_first.filter(|_| usage.completion_tokens > 1) {
            let each = time.as_secs_f64() / (usage.completion_tokens - 1) as f64;
            self.per_token.get_or_init(|| vllm.per_token.get_or_create_owned(labels)).observe(each);
        }
    }

    fn both(&self, own: &Histograms<Model>, vllm: &Histograms<VllmModel>) -> Both {
        (own.get_or_create_owned(&self.labels.0), vllm.get_or_create_owned(&self.labels.1))
    }
}

fn observe((own, vllm): &Both, time: Duration) {
    own.observe(time.as_secs_f64());
    vllm.observe(time.as_secs_f64());
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
