//! All replicas of one model, as one [`Model`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use futures::future::try_join_all;
use llmo_core::model::{
    EmbedRequest, Embeddings, EventStream, GenerateRequest, KeepAlive, Load, Model, ModelInfo, Ranking, RerankRequest,
    ResidenceState, Result, TokenId, TokenizeOptions,
};

use super::Dispatcher;
use super::errand::Errand;
use super::poison::Suspicion;
use super::stream::{self, Started};
use crate::replica::{Lease, Served};

/// A model behind the gateway. Which replica answers is decided for each request.
pub struct RoutedModel {
    info: Arc<ModelInfo>,
    dispatcher: Arc<Dispatcher>,
}

impl RoutedModel {
    /// The model that `info` describes, served by whoever has it.
    #[must_use]
    pub fn new(info: Arc<ModelInfo>, dispatcher: Arc<Dispatcher>) -> Self {
        Self { info, dispatcher }
    }
}

#[async_trait]
impl Model for RoutedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Resolves with the first output: until then a failed attempt is repeated elsewhere, and the answer's status and
    /// headers can still tell the truth.
    async fn generate(&self, mut request: GenerateRequest) -> Result<EventStream> {
        // What another replica needs to go on with the stream, if this one breaks.
        request.token_ids |= self.info.capabilities.token_ids;
        let dispatcher = Arc::clone(&self.dispatcher);
        let poison = &self.dispatcher.poison;
        poison.check(&self.info.id, &request, Instant::now())?;
        let (asked, attempts, suspicion) = (&request, &AtomicU32::new(0), &Suspicion::default());
        let call = |served: Arc<Served>| async move {
            attempts.fetch_add(1, Ordering::Relaxed);
            let attempt = async {
                let sent = Instant::now();
                let started = Started::wait(served.client.generate_borrowed(asked).await?).await?;
                let now = Instant::now();
                served.latency.record(now.duration_since(sent), now);
                Ok(started)
            };
            poison.attempt(suspicion, attempt).await
        };
        let errand = Errand::generation(&self.info.id, &request, dispatcher.policy());
        let answer = dispatcher.dispatch(errand, call).await;
        let (started, lease) =
            answer.inspect_err(|error| poison.learn(&self.info.id, &request, error, Instant::now()))?;
        let can_continue = self.info.capabilities.token_ids && !dispatcher.options().continuation_timeout.is_zero();
        let explain = || dispatcher.explain(&self.info.id, &lease, attempts.load(Ordering::Relaxed));
        let route = request.explain.then(explain);
        let mut stream = stream::watch(started, lease, &self.info.id, request, can_continue, dispatcher);
        stream.origin.route = route;
        Ok(stream)
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        let request = &request;
        let call = |served: Arc<Served>| async move {
            let sent = Instant::now();
            let embeddings = served.client.embed(request.clone()).await?;
            let now = Instant::now();
            served.latency.record(now.duration_since(sent), now);
            Ok(embeddings)
        };
        let (mut embeddings, lease) =
            self.dispatcher.dispatch(self.errand(request.deadline).reading(bytes(&request.input)), call).await?;
        embeddings.origin.replica = Some(self.done(&lease));
        Ok(embeddings)
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        let call = |served: Arc<Served>| async move { served.client.tokenize(text, options).await };
        let (tokens, lease) = self.dispatcher.dispatch(self.errand(None), call).await?;
        self.done(&lease);
        Ok(tokens)
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        let call = |served: Arc<Served>| async move { served.client.detokenize(tokens).await };
        let (text, lease) = self.dispatcher.dispatch(self.errand(None), call).await?;
        self.done(&lease);
        Ok(text)
    }

    async fn render(&self, request: GenerateRequest) -> Result<String> {
        let request = &request;
        let call = |served: Arc<Served>| async move { served.client.render(request.clone()).await };
        let (prompt, lease) = self.dispatcher.dispatch(self.errand(request.deadline), call).await?;
        self.done(&lease);
        Ok(prompt)
    }

    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        let request = &request;
        let call = |served: Arc<Served>| async move { served.client.rerank(request.clone()).await };
        let errand = self.errand(request.deadline).reading(bytes(&request.documents));
        let (ranking, lease) = self.dispatcher.dispatch(errand, call).await?;
        self.done(&lease);
        Ok(ranking)
    }

    /// Tells every replica that has the model in memory; if none has and it is wanted, one loads it.
    async fn keep(&self, keep_alive: KeepAlive) -> Result<()> {
        let holders = self.holders();
        if holders.is_empty() && keep_alive != KeepAlive::NOT_AT_ALL {
            let call = |served: Arc<Served>| async move { served.client.keep(keep_alive).await };
            let ((), lease) = self.dispatcher.dispatch(self.errand(None), call).await?;
            self.done(&lease);
            return Ok(());
        }
        try_join_all(holders.iter().map(|served| served.client.keep(keep_alive))).await.map(drop)
    }

    /// The sum over the replicas that can be used, as they reported it last.
    fn load(&self) -> Load {
        self.dispatcher.pool().snapshot().route(&self.info.id).map_or_else(Load::default, |route| route.load())
    }
}

fn bytes(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

impl RoutedModel {
    fn errand(&self, deadline: Option<Instant>) -> Errand<'_> {
        Errand::new(&self.info.id, deadline)
    }

    /// The replicas that have the model in memory, or load it.
    fn holders(&self) -> Vec<Arc<Served>> {
        let absent = |served: &Served| {
            served.load().residence.is_some_and(|residence| residence.state == ResidenceState::Absent)
        };
        let snapshot = self.dispatcher.pool().snapshot();
        let served = snapshot.route(&self.info.id).map_or(&[][..], |route| &route.served);
        served.iter().filter(|served| !absent(served)).cloned().collect()
    }

    fn done(&self, lease: &Lease) -> String {
        self.dispatcher.judge_started(lease.replica(), None, Instant::now());
        lease.replica().id().to_owned()
    }
}
