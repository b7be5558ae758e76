//! Requests to models, under OpenTelemetry's GenAI names.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use llmo_core::model::{Finish, Usage};
use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::choices::{ChoiceMetrics, ChoiceSeries};
use super::labels::{self, ModelNames};
use super::{Role, buckets};
use crate::fault::Fault;
use crate::http::AccessRecord;

/// What is asked of a model, under OpenTelemetry's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A conversation.
    Chat,
    /// Text to continue.
    TextCompletion,
    /// Vectors.
    Embeddings,
    /// Scores of documents.
    Rerank,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
    gen_ai_request_model: Arc<str>,
    gen_ai_response_model: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
    gen_ai_request_model: Arc<str>,
    gen_ai_response_model: Arc<str>,
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
    gen_ai_request_model: Arc<str>,
    gen_ai_response_model: Arc<str>,
    gen_ai_token_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    reason: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Metrics of requests to models.
#[derive(Debug, Clone)]
pub struct GenerationMetrics {
    names: ModelNames,
    duration: Histograms<Ended>,
    first_token: Histograms<Asked>,
    per_token: Histograms<Asked>,
    tokens: Histograms<Tokens>,
    rejections: Family<Rejected, Counter>,
    choices: ChoiceMetrics,
    series: Arc<RwLock<Known>>,
}

/// The series that requests have asked for, by operation and model, and whether that was asked for by its own name. There
/// are no more of them than label values.
type Known = HashMap<(Operation, bool, Arc<str>), Arc<Series>>;

/// The series of one operation of one model, each looked up when it is needed first.
#[derive(Debug)]
struct Series {
    labels: Asked,
    duration: OnceLock<Histogram>,
    first_token: OnceLock<Histogram>,
    per_token: OnceLock<Histogram>,
    input: OnceLock<Histogram>,
    output: OnceLock<Histogram>,
    choices: ChoiceSeries,
}

impl GenerationMetrics {
    pub(super) fn register(registry: &mut Registry, vllm: &mut Registry, role: Role) -> Self {
        let metrics = Self {
            names: ModelNames::default(),
            duration: Family::new_with_constructor(|| Histogram::new(buckets::DURATION)),
            first_token: Family::new_with_constructor(|| Histogram::new(buckets::FIRST_TOKEN)),
            per_token: Family::new_with_constructor(|| Histogram::new(buckets::PER_TOKEN)),
            tokens: Family::new_with_constructor(|| Histogram::new(buckets::TOKENS)),
            rejections: Family::default(),
            choices: ChoiceMetrics::register(registry, vllm),
            series: Arc::default(),
        };
        let (duration, first) = match role {
            Role::ModelService => {
                registry.register(
                    "gen_ai_server_time_per_output_token_seconds",
                    "Time for each token after the first",
                    metrics.per_token.clone(),
                );
                ("gen_ai_server_request_duration_seconds", "gen_ai_server_time_to_first_token_seconds")
            }
            Role::Gateway => {
                registry.register("gen_ai_client_token_usage", "Tokens of a request", metrics.tokens.clone());
                ("gen_ai_client_operation_duration_seconds", "gen_ai_client_operation_time_to_first_chunk_seconds")
            }
        };
        registry.register(duration, "Time from a request to the end of its answer", metrics.duration.clone());
        registry.register(first, "Time from a request to the first piece of its answer", metrics.first_token.clone());
        registry.register(
            "llmo_admission_rejections",
            "Requests that were refused before anything was done for them",
            metrics.rejections.clone(),
        );
        metrics
    }

    /// A request for a model that has been found.
    #[must_use]
    pub fn start(self: &Arc<Self>, operation: Operation, asked_for: &str, model: &str) -> Measurement {
        let model = self.names.known(model);
        // An alias is a name of the client's choice: only its being one is told.
        let by_name = asked_for.is_empty() || asked_for == &*model;
        self.measurement(operation, by_name, model)
    }

    /// A request for a model that has not been found, or could not be had.
    pub fn refused(self: &Arc<Self>, operation: Operation, fault: &Fault, record: Option<AccessRecord>) {
        let mut measurement = self.measurement(operation, false, labels::OTHER.into());
        measurement.record = record;
        measurement.failed(fault);
    }

    fn measurement(self: &Arc<Self>, operation: Operation, by_name: bool, model: Arc<str>) -> Measurement {
        Measurement {
            metrics: Arc::clone(self),
            series: self.series(operation, by_name, model),
            start: Instant::now(),
            first: None,
            last: Vec::new(),
            ended: false,
            record: None,
        }
    }

    fn series(&self, operation: Operation, by_name: bool, model: Arc<str>) -> Arc<Series> {
        let key = (operation, by_name, model);
        if let Some(known) = self.series.read().get(&key) {
            return Arc::clone(known);
        }
        let model = &key.2;
        let labels = Asked {
            gen_ai_operation_name: operation.as_str(),
            gen_ai_provider_name: "llmo",
            gen_ai_request_model: if by_name { Arc::clone(model) } else { labels::OTHER.into() },
            gen_ai_response_model: Arc::clone(model),
        };
        let series = Series {
            labels,
            duration: OnceLock::new(),
            first_token: OnceLock::new(),
            per_token: OnceLock::new(),
            input: OnceLock::new(),
            output: OnceLock::new(),
            choices: self.choices.of(model),
        };
        Arc::clone(self.series.write().entry(key).or_insert_with(|| Arc::new(series)))
    }
}

/// One request being measured. Dropped without an end, its client has left.
#[derive(Debug)]
pub struct Measurement {
    metrics: Arc<GenerationMetrics>,
    series: Arc<Series>,
    start: Instant,
    first: Option<Instant>,
    /// When the last piece of each choice came.
    last: Vec<Option<Instant>>,
    ended: bool,
    record: Option<AccessRecord>,
}

impl Measurement {
    /// What is measured goes into this record too.
    #[must_use]
    pub fn recorded(mut self, record: Option<AccessRecord>) -> Self {
        if let Some(record) = &record {
            record.note(|facts| {
                facts.operation = Some(self.series.labels.gen_ai_operation_name);
                facts.model = Some(Arc::clone(&self.series.labels.gen_ai_response_model));
            });
        }
        self.record = record;
        self
    }

    /// A piece of a choice has come.
    pub fn piece(&mut self, choice: usize) {
        let now = Instant::now();
        let (metrics, series) = (&self.metrics, &self.series);
        if self.first.is_none() {
            self.first = Some(now);
            if let Some(record) = &self.record {
                record.note(|facts| facts.first_token = Some(record.elapsed()));
            }
            let found = || metrics.first_token.get_or_create_owned(&series.labels);
            series.first_token.get_or_init(found).observe(seconds(now - self.start));
            if series.generates() {
                series.choices.first_token(now - self.start);
            }
        }
        if self.last.len() <= choice {
            self.last.resize(choice + 1, None);
        }
        if let Some(before) = self.last[choice].replace(now) {
            series.choices.between(now - before);
        }
    }

    /// A choice is complete.
    pub fn choice_finished(&mut self, finish: &Finish) {
        self.series.choices.finished(finish);
    }

    /// The answer is complete.
    pub fn finished(mut self, usage: Usage) {
        if let Some(record) = &self.record {
            record.note(|facts| facts.usage = Some(usage));
        }
        if let Some(first) = self.first
            && usage.completion_tokens > 1
        {
            let each = first.elapsed().as_secs_f64() / (usage.completion_tokens - 1) as f64;
            let found = || self.metrics.per_token.get_or_create_owned(&self.series.labels);
            self.series.per_token.get_or_init(found).observe(each);
        }
        if self.series.generates() {
            let after_first = self.first.map(|first| first.elapsed());
            self.series.choices.answered(usage, self.start.elapsed(), after_first);
        }
        let tokens = |kind| self.metrics.tokens.get_or_create_owned(&self.series.labels.of_tokens(kind));
        self.series.input.get_or_init(|| tokens("input")).observe(usage.prompt_tokens as f64);
        if usage.completion_tokens > 0 {
            self.series.output.get_or_init(|| tokens("output")).observe(usage.completion_tokens as f64);
        }
        self.end("");
    }

    /// The request failed.
    pub fn failed(mut self, fault: &Fault) {
        if self.first.is_none() && fault.retry_after().is_some() {
            self.metrics.rejections.get_or_create(&Rejected { reason: fault.code() }).inc();
        }
        self.end(fault.code());
    }

    fn end(&mut self, error_type: &'static str) {
        self.ended = true;
        if let Some(record) = self.record.take().filter(|_| !error_type.is_empty()) {
            record.note(|facts| facts.error = Some(error_type));
        }
        let took = seconds(self.start.elapsed());
        let duration = || self.metrics.duration.get_or_create_owned(&self.series.labels.ended(error_type));
        if error_type.is_empty() {
            self.series.duration.get_or_init(duration).observe(took);
        } else {
            duration().observe(took);
        }
    }
}

impl Series {
    /// Vectors and scores have no place in what is told of generations.
    fn generates(&self) -> bool {
        [Operation::Chat, Operation::TextCompletion].iter().any(|op| op.as_str() == self.labels.gen_ai_operation_name)
    }
}

impl Asked {
    fn of_tokens(&self, kind: &'static str) -> Tokens {
        Tokens {
            gen_ai_operation_name: self.gen_ai_operation_name,
            gen_ai_provider_name: self.gen_ai_provider_name,
            gen_ai_request_model: Arc::clone(&self.gen_ai_request_model),
            gen_ai_response_model: Arc::clone(&self.gen_ai_response_model),
            gen_ai_token_type: kind,
        }
    }

    fn ended(&self, error_type: &'static str) -> Ended {
        Ended {
            gen_ai_operation_name: self.gen_ai_operation_name,
            gen_ai_provider_name: self.gen_ai_provider_name,
            gen_ai_request_model: Arc::clone(&self.gen_ai_request_model),
            gen_ai_response_model: Arc::clone(&self.gen_ai_response_model),
            error_type,
        }
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        if !self.ended {
            self.end("cancelled");
        }
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
