//! A model, and the ones that answer in its place.

use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::model::{
    EmbedRequest, Embeddings, EventStream, GenerateRequest, KeepAlive, Load, Model, ModelError, ModelInfo, Prompt,
    Ranking, RerankRequest, Result, TokenId, TokenizeOptions,
};

use super::RouteMetrics;
use super::explained::{before, plain};

/// Models that are tried in order until one begins to answer.
///
/// What is bound to one model never goes to another: vectors, token ids, adapters.
pub struct Chain {
    route: Arc<str>,
    links: Vec<Arc<dyn Model>>,
    refused: Option<ModelError>,
    metrics: RouteMetrics,
}

impl Chain {
    /// `links`, of which there is at least one, in order. `refused`: why the model that should come first isn't there.
    #[must_use]
    pub fn new(
        route: Arc<str>,
        links: Vec<Arc<dyn Model>>,
        refused: Option<ModelError>,
        metrics: RouteMetrics,
    ) -> Self {
        debug_assert!(!links.is_empty());
        Self { route, links, refused, metrics }
    }

    /// Tries one model after the other, as long as they fail in a way that another may not.
    async fn try_each<T, F: Future<Output = Result<T>>>(
        &self,
        call: impl Fn(Arc<dyn Model>) -> F,
    ) -> Result<(T, Option<Fallback<'_>>)> {
        let mut first = self.refused.clone();
        let mut after = self.refused.as_ref().map(ModelError::code);
        for (place, model) in self.links.iter().enumerate() {
            let error = match call(Arc::clone(model)).await {
                Ok(answer) => return Ok((answer, after.map(|after| Fallback { model, place, after }))),
                Err(error) => error,
            };
            // A fallback's complaint about a request that was not made for it would only confuse.
            let goes_on = place + 1 < self.links.len() && is_of_the_model(&error);
            // The caller's own deadline is the truth, whatever failed before it.
            if first.is_none() || matches!(error, ModelError::DeadlineExceeded { .. }) {
                first = Some(error.clone());
            }
            if !goes_on {
                break;
            }
            tracing::debug!(route = &*self.route, model = model.info().id, %error, "going on to the next model");
            self.metrics.fell_back(&self.route, error.code());
            after = Some(error.code());
        }
        Err(first.unwrap_or_else(|| ModelError::unavailable("the route leads nowhere")))
    }

    /// The model that was meant, for what no other can do in its place.
    fn meant(&self) -> Result<&Arc<dyn Model>> {
        match (&self.refused, self.links.first()) {
            (None, Some(model)) => Ok(model),
            (refused, _) => Err(refused.clone().unwrap_or_else(|| ModelError::unavailable("the route leads nowhere"))),
        }
    }
}

/// The model that answered in another one's place.
struct Fallback<'a> {
    model: &'a Arc<dyn Model>,
    place: usize,
    /// The code of the error of the one before it.
    after: &'static str,
}

/// Would another model perhaps do better? Nothing has been answered yet.
fn is_of_the_model(error: &ModelError) -> bool {
    error.is_retryable()
        || matches!(
            error,
            ModelError::Upstream { .. }
                | ModelError::Corrupt { .. }
                | ModelError::Internal(_)
                | ModelError::NotFound { .. }
        )
}

/// Does the request make sense to one model only?
fn is_bound(request: &GenerateRequest) -> bool {
    matches!(request.prompt, Prompt::Tokens(_))
        || !request.output_prefix.is_empty()
        || !request.stop_tokens.is_empty()
        || request.adapter.is_some()
}

#[async_trait]
impl Model for Chain {
    /// The first that is there.
    fn info(&self) -> &ModelInfo {
        self.links[0].info()
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        if is_bound(&request) {
            return self.meant()?.generate(request).await;
        }
        let asked = &request;
        let call = |model: Arc<dyn Model>| async move { model.generate(asked.clone()).await };
        let (mut stream, fallback) = self.try_each(call).await?;
        if let Some(Fallback { model, place, after }) = fallback {
            let name = &model.info().id;
            if asked.explain {
                before(&mut stream, &format!("fallback={}; after={after}", plain(name)));
            }
            // The first that is there is the one that the chain shows as itself.
            if place > 0 {
                stream.origin.model.get_or_insert_with(|| name.clone());
            }
        }
        Ok(stream)
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        self.meant()?.embed(request).await
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        self.meant()?.tokenize(text, options).await
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        self.meant()?.detokenize(tokens).await
    }

    async fn render(&self, request: GenerateRequest) -> Result<String> {
        self.meant()?.render(request).await
    }

    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        let asked = &request;
        let call = |model: Arc<dyn Model>| async move { model.rerank(asked.clone()).await };
        self.try_each(call).await.map(|(ranking, _)| ranking)
    }

    async fn keep(&self, keep_alive: KeepAlive) -> Result<()> {
        self.meant()?.keep(keep_alive).await
    }

    fn load(&self) -> Load {
        self.links[0].load()
    }
}

#[cfg(test)]
mod tests;
