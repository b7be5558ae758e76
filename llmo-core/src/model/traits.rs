//! The trait itself.

use async_trait::async_trait;

use super::{
    EmbedRequest, Embeddings, EventStream, GenerateRequest, KeepAlive, Load, ModelError, ModelInfo, Process, Ranking,
    RerankRequest, Result, TokenId, TokenizeOptions,
};

/// A language model, wherever it runs: in this process, behind HTTP, or behind layers over other models.
///
/// # Contract
/// * [`generate`](Model::generate) resolves when the request is accepted; the stream then yields deltas and exactly
///   one [`Event::Finish`](super::Event::Finish), or ends with one `Err`. Nothing follows either.
/// * Dropping the future or the stream cancels: the slot and its KV cache are free within one decode step.
/// * An invalid request fails before anything is generated and leaves other requests unharmed.
/// * A request with temperature 0, or with a seed, gives the same output every time.
#[async_trait]
pub trait Model: Send + Sync {
    /// What this model is and can do. Cheap.
    fn info(&self) -> &ModelInfo;

    /// Of a layer: the model that it stands before. Whatever a layer does not implement, that one does.
    fn inner(&self) -> Option<&dyn Model> {
        None
    }

    /// Generates text.
    ///
    /// # Errors
    /// See [`ModelError`]: everything found wrong before the first token.
    async fn generate(&self, request: GenerateRequest) -> Result<EventStream>;

    /// [`generate`](Model::generate) for who keeps the request: a router that may have to ask somebody else. A model that only reads
    /// requests should implement this, and have `generate` call it.
    ///
    /// # Errors
    /// As for `generate`.
    async fn generate_borrowed(&self, request: &GenerateRequest) -> Result<EventStream> {
        self.generate(request.clone()).await
    }

    /// Embeds texts: one unit-length vector an input, in the input's order.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] unless `info().capabilities.embed`.
    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        match self.inner() {
            Some(inner) => inner.embed(request).await,
            None => Err(ModelError::unsupported(self.info(), "embeddings")),
        }
    }

    /// Splits text into the model's tokens.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] where the backend has no tokenizer at hand.
    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        match self.inner() {
            Some(inner) => inner.tokenize(text, options).await,
            None => Err(ModelError::unsupported(self.info(), "tokenization")),
        }
    }

    /// The text of a sequence of tokens, special tokens left out.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a token outside the vocabulary, [`ModelError::Unsupported`] as above.
    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        match self.inner() {
            Some(inner) => inner.detokenize(tokens).await,
            None => Err(ModelError::unsupported(self.info(), "detokenization")),
        }
    }

    /// The text that the model is given for this request: the chat template applied to its messages and tools.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] without a chat template, [`ModelError::InvalidRequest`] if the template refuses.
    async fn render(&self, request: GenerateRequest) -> Result<String> {
        match self.inner() {
            Some(inner) => inner.render(request).await,
            None => Err(ModelError::unsupported(self.info(), "rendering of its chat template")),
        }
    }

    /// How well each document answers the query: one score a document, in order; higher is better.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] unless `info().capabilities.rerank`.
    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        match self.inner() {
            Some(inner) => inner.rerank(request).await,
            None => Err(ModelError::unsupported(self.info(), "reranking")),
        }
    }

    /// Loads the model if it comes and goes and isn't in memory, and says how long it stays there after its last use:
    /// [`KeepAlive::NOT_AT_ALL`] unloads it, once nobody uses it. A model that is always there has nothing to do.
    ///
    /// # Errors
    /// Those of loading; [`ModelError::Unsupported`] for unloading what may not be unloaded.
    async fn keep(&self, keep_alive: KeepAlive) -> Result<()> {
        match self.inner() {
            Some(inner) => inner.keep(keep_alive).await,
            None => Ok(()),
        }
    }

    /// How busy the model is right now: what a router needs. Cheap; may be a little stale.
    fn load(&self) -> Load;

    /// The process that the model runs in, if it has one of its own. Cheap.
    fn process(&self) -> Option<Process> {
        self.inner().and_then(Model::process)
    }
}
