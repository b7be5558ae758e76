//! The layer that counts requests.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use llmo_core::model::{
    EmbedRequest, Embeddings, EventStream, GenerateRequest, Load, Model, ModelInfo, Models, PullStream, Ranking,
    RerankRequest, Result, RunningModel,
};

use super::Traffic;

/// A model whose requests are counted. The outermost layer: it sees what callers see, answers from a cache and of a
/// fallback's model included.
pub struct Metered {
    inner: Arc<dyn Model>,
    traffic: Arc<Traffic>,
}

impl Metered {
    /// Counts the requests to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Model>, traffic: Arc<Traffic>) -> Self {
        Self { inner, traffic }
    }
}

#[async_trait]
impl Model for Metered {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&*self.inner)
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        let running = self.traffic.begin();
        let answer = self.inner.generate(request).await.inspect_err(|error| running.failed(error))?;
        Ok(answer.map_stream(|events| {
            events.inspect(move |event| {
                if let Err(error) = event {
                    running.failed(error);
                }
            })
        }))
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        let running = self.traffic.begin();
        self.inner.embed(request).await.inspect_err(|error| running.failed(error))
    }

    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        let running = self.traffic.begin();
        self.inner.rerank(request).await.inspect_err(|error| running.failed(error))
    }

    fn load(&self) -> Load {
        self.inner.load()
    }
}

/// Models that are all [`Metered`], and whose refusals are counted too: who asks for a model that nobody serves never comes
/// to one.
pub struct MeteredModels<M> {
    inner: M,
    traffic: Arc<Traffic>,
}

impl<M> MeteredModels<M> {
    /// Counts what is asked of `inner`.
    #[must_use]
    pub fn new(inner: M, traffic: Arc<Traffic>) -> Self {
        Self { inner, traffic }
    }
}

#[async_trait]
impl<M: Models> Models for MeteredModels<M> {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        let found = self.inner.resolve(name).await.inspect_err(|error| self.traffic.begin().failed(error))?;
        Ok(Arc::new(Metered::new(found, Arc::clone(&self.traffic))))
    }

    async fn list(&self) -> Vec<ModelInfo> {
        self.inner.list().await
    }

    async fn running(&self) -> Vec<RunningModel> {
        self.inner.running().await
    }

    async fn pull(&self, name: &str) -> Result<PullStream> {
        self.inner.pull(name).await
    }

    fn ready(&self) -> std::result::Result<(), Vec<String>> {
        self.inner.ready()
    }
}

#[cfg(test)]
mod tests {
    use llmo_backends::sim::{Fault, SimModel, SimOptions};
    use llmo_core::model::SingleModel;

    use super::*;

    fn metered() -> (Metered, Arc<SimModel>, Arc<Traffic>) {
        let (sim, traffic) = (Arc::new(SimModel::new(SimOptions::default())), Arc::new(Traffic::default()));
        (Metered::new(Arc::clone(&sim) as _, Arc::clone(&traffic)), sim, traffic)
    }

    fn counts(traffic: &Traffic) -> (u64, u64, u64) {
        (traffic.total(), traffic.failed(), traffic.in_flight())
    }

    #[tokio::test]
    async fn an_answer_runs_until_its_end_or_until_its_caller_leaves() {
        let (model, _, traffic) = metered();
        let read = model.generate(GenerateRequest::ask("hello")).await.expect("it works");
        let left = model.generate(GenerateRequest::ask("hello")).await.expect("it works");
        assert_eq!(counts(&traffic), (2, 0, 2));
        read.collect_all().await.expect("whole");
        drop(left);
        assert_eq!(counts(&traffic), (2, 0, 0));
    }

    #[tokio::test]
    async fn our_failures_count_and_wrong_requests_do_not() {
        let (model, sim, traffic) = metered();
        sim.faults().next(1, Fault::unavailable());
        assert!(model.generate(GenerateRequest::ask("hello")).await.is_err());
        assert!(model.generate(GenerateRequest::ask("hello").max_tokens(0)).await.is_err());
        sim.faults().next(1, Fault::error_after(2));
        let stream = model.generate(GenerateRequest::ask("hello")).await.expect("it begins");
        assert!(stream.collect_all().await.is_err());
        assert_eq!(counts(&traffic), (3, 2, 0));
    }

    #[tokio::test]
    async fn refusals_before_any_model_count_as_requests() {
        let traffic = Arc::new(Traffic::default());
        let single = SingleModel::new(Arc::new(SimModel::new(SimOptions::default())));
        let models = MeteredModels::new(single, Arc::clone(&traffic));
        assert!(models.resolve("no such").await.is_err());
        assert_eq!(counts(&traffic), (1, 0, 0));
    }
}
