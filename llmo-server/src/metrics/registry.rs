//! The registry of a process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::response::Response;
use http::HeaderMap;
use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::exposition;
use super::generation::GenerationMetrics;
use super::http::HttpMetrics;
use super::process::ThisProcess;
use super::telemetry::Dropped;

/// Longest wait for a source that has to be asked. A scrape must not hang on a cache that does.
const REFRESH_TIMEOUT: Duration = Duration::from_millis(200);

/// What a process is: it decides under which names requests to models are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It runs models: `gen_ai_server_…`.
    ModelService,
    /// It asks others, or does everything in one process: `gen_ai_client_…`.
    Gateway,
}

/// A source whose numbers have to be asked for before they can be encoded.
#[async_trait]
pub trait Refresh: Send + Sync {
    /// Gets the numbers. What doesn't come in time stays as it was.
    async fn refresh(&self);
}

/// All metrics of a process.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// What vLLM would tell, under its names.
    vllm: Mutex<Registry>,
    sources: Mutex<Vec<Arc<dyn Refresh>>>,
    /// Requests to models.
    pub generation: Arc<GenerationMetrics>,
    /// Requests as such.
    pub http: HttpMetrics,
}

impl Metrics {
    /// The metrics of a process with this role.
    #[must_use]
    pub fn new(role: Role) -> Arc<Self> {
        let mut registry = Registry::default();
        let build = vec![("version", env!("CARGO_PKG_VERSION")), ("arch", std::env::consts::ARCH)];
        registry.register("llmo_build", "Version of llmo", Info::new(build));
        let mut vllm = Registry::default();
        let generation = Arc::new(GenerationMetrics::register(&mut registry, &mut vllm, role));
        let http = HttpMetrics::register(&mut registry);
        if let Some(process) = ThisProcess::new() {
            registry.register_collector(Box::new(process));
        }
        registry.register_collector(Box::new(Dropped));
        let (registry, vllm) = (Mutex::new(registry), Mutex::new(vllm));
        Arc::new(Self { registry, vllm, sources: Mutex::default(), generation, http })
    }

    /// Registers more.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock())
    }

    /// Registers more under vLLM's names.
    pub fn register_vllm<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.vllm.lock())
    }

    /// Adds a source that is asked before each scrape.
    pub fn add_source(&self, source: Arc<dyn Refresh>) {
        self.sources.lock().push(source);
    }

    /// Answers a scrape, in the form that its headers ask for.
    pub async fn respond(&self, headers: &HeaderMap) -> Response {
        exposition::respond(headers, self.encode().await)
    }

    /// Answers a scrape with what vLLM would tell. A view of its own, since `promtool` and its like don't want colons in
    /// names.
    pub async fn respond_vllm(&self, headers: &HeaderMap) -> Response {
        self.refresh().await;
        exposition::respond(headers, text_of(&self.vllm.lock()))
    }

    /// Everything in OpenMetrics' text form.
    pub async fn encode(&self) -> String {
        self.refresh().await;
        text_of(&self.registry.lock())
    }

    async fn refresh(&self) {
        let sources = self.sources.lock().clone();
        let asking = futures::future::join_all(sources.iter().map(|source| source.refresh()));
        if tokio::time::timeout(REFRESH_TIMEOUT, asking).await.is_err() {
            tracing::debug!("a source of metrics did not answer in time");
        }
    }
}

fn text_of(registry: &Registry) -> String {
    let mut out = String::new();
    if let Err(error) = text::encode(&mut out, registry) {
        tracing::error!(%error, "metrics could not be encoded");
    }
    out
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
