//! A model that comes and goes, as a [`Model`] that is always there.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_trait::async_trait;
use futures::Stream;
use futures::stream::BoxStream;
use llmo_core::model::{
    EmbedRequest, Embeddings, Event, EventStream, GenerateRequest, KeepAlive, Load, Process, Ranking, RerankRequest,
    Result, TokenId, TokenizeOptions,
};
use llmo_core::{Model, ModelError, ModelInfo};

use super::adapters;
use super::entry::Entry;
use super::shelf::{Lease, Shelf};

/// A model by its name. Whatever is asked of it loads it if it isn't in memory, and keeps it there until it has answered.
pub(super) struct Handle {
    id: String,
    info: ModelInfo,
    shelf: Arc<Shelf>,
}

impl Handle {
    pub(super) fn new(entry: &Entry, info: ModelInfo, shelf: Arc<Shelf>) -> Self {
        Self { id: entry.id.clone(), info, shelf }
    }

    /// Looked up anew each time: another installation may have taken the name.
    fn entry(&self) -> Result<Arc<Entry>> {
        self.shelf.get(&self.id).ok_or_else(|| ModelError::NotFound { model: self.id.clone(), suggestion: None })
    }

    async fn lease(&self, deadline: Option<Instant>, keep_alive: Option<KeepAlive>) -> Result<Lease> {
        self.shelf.acquire(&self.entry()?, deadline, keep_alive).await
    }
}

#[async_trait]
impl Model for Handle {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn generate(&self, mut request: GenerateRequest) -> Result<EventStream> {
        let mut entry = self.entry()?;
        if let Some(adapter) = request.adapter.take() {
            entry = adapters::of(&self.shelf, &entry, &adapter)?;
        }
        let lease = self.shelf.acquire(&entry, request.deadline, request.keep_alive).await?;
        let stream = lease.model.generate(request).await?;
        Ok(stream.map_stream(|events| Leased { events, lease: Some(lease) }))
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        let lease = self.lease(request.deadline, request.keep_alive).await?;
        lease.model.embed(request).await
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        self.lease(None, None).await?.model.tokenize(text, options).await
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        self.lease(None, None).await?.model.detokenize(tokens).await
    }

    async fn render(&self, request: GenerateRequest) -> Result<String> {
        let lease = self.lease(request.deadline, request.keep_alive).await?;
        lease.model.render(request).await
    }

    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        let lease = self.lease(request.deadline, None).await?;
        lease.model.rerank(request).await
    }

    async fn keep(&self, keep_alive: KeepAlive) -> Result<()> {
        if keep_alive == KeepAlive::NOT_AT_ALL {
            return self.shelf.unload(&self.entry()?).await;
        }
        self.lease(None, Some(keep_alive)).await.map(drop)
    }

    fn load(&self) -> Load {
        self.entry().map_or_else(|_| Load::default(), |entry| entry.load(Instant::now()))
    }

    fn process(&self) -> Option<Process> {
        self.entry().ok()?.resident()?.process()
    }
}

/// A stream that keeps its model in memory until it ends.
struct Leased {
    events: BoxStream<'static, Result<Event>>,
    lease: Option<Lease>,
}

impl Stream for Leased {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = futures::ready!(self.events.as_mut().poll_next(cx));
        if !matches!(event, Some(Ok(Event::Delta(_)))) {
            // Before the end is seen: who asks next finds the model free.
            self.lease = None;
        }
        Poll::Ready(event)
    }
}
