//! The layer itself.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use llmo_core::model::{CacheStatus, CacheUse, Event, EventStream, Load, Model, ModelInfo, Origin, Result};
use llmo_core::{Cache, CacheKey, EmbedRequest, Embeddings, GenerateRequest, PutOptions};
use tokio::sync::Semaphore;

use super::codec::Generation;
use super::lookup::{Found, Lookup};
use super::recorder::{Recorded, Recorder};
use super::stats::ResponseCacheStats;
use super::writer::Writer;
use super::{ResponseCachePolicy, key};

/// A model whose answers are cached. See the [module](super).
pub struct ResponseCache {
    pub(super) inner: Arc<dyn Model>,
    pub(super) lookup: Lookup,
    pub(super) writer: Writer,
    pub(super) policy: ResponseCachePolicy,
    pub(super) stats: Arc<ResponseCacheStats>,
}

// === impl ResponseCache ===

impl ResponseCache {
    /// Caches the answers of `inner` in `cache`.
    pub fn new(inner: Arc<dyn Model>, cache: Arc<dyn Cache>, policy: ResponseCachePolicy) -> Self {
        Self::with_stats(inner, cache, policy, Arc::default())
    }

    /// The same, counting together with other response caches.
    pub fn with_stats(
        inner: Arc<dyn Model>,
        cache: Arc<dyn Cache>,
        policy: ResponseCachePolicy,
        stats: Arc<ResponseCacheStats>,
    ) -> Self {
        let lookup = Lookup { cache: Arc::clone(&cache), budget: policy.lookup_budget, stats: Arc::clone(&stats) };
        let permits = Arc::new(Semaphore::new(policy.max_pending_writes.min(Semaphore::MAX_PERMITS)));
        let writer = Writer { cache, permits, timeout: policy.write_timeout, stats: Arc::clone(&stats) };
        Self { inner, lookup, writer, policy, stats }
    }

    /// What this cache counts.
    #[must_use]
    pub fn stats(&self) -> &Arc<ResponseCacheStats> {
        &self.stats
    }

    /// How an answer to this tenant is kept.
    pub(super) fn put_options(&self, tenant: Option<&str>) -> PutOptions {
        let mut options = PutOptions::default().tag(format!("model:{}", self.inner.info().id));
        options.ttl = self.policy.ttl;
        match tenant {
            Some(tenant) => options.tag(format!("tenant:{tenant}")),
            None => options,
        }
    }

    /// The key of a request that may be cached at all.
    fn key(&self, request: &GenerateRequest) -> Option<CacheKey> {
        let cacheable = self.policy.generations && request.cache != CacheUse::Off && request.is_deterministic();
        if cacheable { key::generation(self.inner.info(), request) } else { None }
    }

    async fn find(&self, key: &CacheKey, request: &GenerateRequest) -> Found<Generation> {
        self.lookup.find(key, request.deadline).await
    }

    /// Passes a generation on and writes it down when it is complete.
    fn record(&self, stream: EventStream, key: CacheKey, options: PutOptions) -> EventStream {
        let (writer, stats) = (self.writer.clone(), Arc::clone(&self.stats));
        let mut recorder = Recorder::new(self.policy.max_entry_bytes);
        stream.map_stream(|events| {
            events.inspect(move |event| match event.as_ref().map(|event| recorder.observe(event)) {
                Ok(Recorded::Nothing) => {}
                Ok(Recorded::TooLarge) => stats.was_too_large(),
                Ok(Recorded::Complete(answer)) => writer.write(vec![(key.clone(), answer)], options.clone()),
                Err(_) => recorder.give_up(),
            })
        })
    }
}

#[async_trait]
impl Model for ResponseCache {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&*self.inner)
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        let Some(key) = self.key(&request) else {
            self.stats.looked_up(CacheStatus::Bypass);
            return Ok(marked(self.inner.generate(request).await?, CacheStatus::Bypass));
        };
        let (status, keep) = match request.cache {
            CacheUse::Refresh => (CacheStatus::Bypass, true),
            _ => match self.find(&key, &request).await {
                Found::Hit(answer) => {
                    self.stats.looked_up(CacheStatus::Hit);
                    self.stats.saved(answer.finish.usage.total());
                    return Ok(replay(answer));
                }
                // A cache that could not be read is not written to either: that would only add to its trouble.
                found => (found.status(), found == Found::Miss),
            },
        };
        self.stats.looked_up(status);
        let options = self.put_options(request.tenant.as_deref());
        let stream = marked(self.inner.generate(request).await?, status);
        // Whoever generated a shared answer writes it.
        if keep && stream.origin.cache == status {
            return Ok(self.record(stream, key, options));
        }
        Ok(stream)
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        self.embed_cached(request).await
    }

    fn load(&self) -> Load {
        self.inner.load()
    }
}

/// An answer from the cache, as a stream.
fn replay(answer: Generation) -> EventStream {
    let finish = Event::Finish(answer.finish);
    let events = answer.deltas.into_iter().map(Event::Delta).chain(std::iter::once(finish)).map(Ok);
    let mut origin = Origin::default();
    origin.cache = CacheStatus::Hit;
    EventStream::new(futures::stream::iter(events)).with_origin(origin)
}

/// Says what this cache did, unless a layer below has more to tell: that the answer is shared, or from its own cache.
fn marked(mut stream: EventStream, status: CacheStatus) -> EventStream {
    if !matches!(stream.origin.cache, CacheStatus::Hit | CacheStatus::Coalesced) {
        stream.origin.cache = status;
    }
    stream
}

impl std::fmt::Debug for ResponseCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseCache")
            .field("model", &self.inner.info().id)
            .field("cache", &self.lookup.cache.tier())
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
