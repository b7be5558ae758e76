//! A bound on generations at once and on requests that wait.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::{Event, EventStream, GenerateRequest, Load, Model, ModelError, ModelInfo, Result};

/// How much at once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitOptions {
    /// Generations at once. At least 1.
    pub running: usize,
    /// Requests that may wait for one of them to end; any more are refused.
    pub queued: usize,
    /// What a refusal says about when to come back.
    pub retry_after: Duration,
}

impl LimitOptions {
    /// `running` at once, `queued` waiting, one second for those who are refused.
    #[must_use]
    pub fn new(running: usize, queued: usize) -> Self {
        Self { running, queued, retry_after: Duration::from_secs(1) }
    }
}

/// Lets through so many generations at once, first come, first served; a bounded number waits, the others get
/// [`ModelError::Overloaded`] at once.
///
/// A place is taken until the stream ends or is dropped. A request whose deadline passed while it waited is not started;
/// but as this crate has no timers, it learns that only when its turn comes: who sets deadlines drops the future in time.
/// Embeddings and tokenisation are not limited.
///
/// ```
/// # use std::sync::Arc;
/// # fn example(model: Arc<dyn llmo_core::Model>) -> Arc<dyn llmo_core::Model> {
/// use llmo_core::layers::{Limit, LimitOptions};
///
/// Arc::new(Limit::new(model, LimitOptions::new(4, 16)))
/// # }
/// ```
pub struct Limit {
    inner: Arc<dyn Model>,
    running: Arc<Semaphore>,
    queue: Semaphore,
    options: LimitOptions,
}

impl Limit {
    /// Limits `inner`.
    pub fn new(inner: Arc<dyn Model>, options: LimitOptions) -> Self {
        let running = options.running.clamp(1, Semaphore::MAX_PERMITS);
        let queued = options.queued.min(Semaphore::MAX_PERMITS);
        let options = LimitOptions { running, queued, ..options };
        Self { inner, running: Arc::new(Semaphore::new(running)), queue: Semaphore::new(queued), options }
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(place);
        }
        // Held while waiting: this is what bounds the queue.
        let _waiting = self.queue.try_acquire().map_err(|_| ModelError::Overloaded {
            reason: format!("{} generations are running and {} wait", self.options.running, self.options.queued),
            retry_after: self.options.retry_after,
        })?;
        // The semaphore is never closed.
        Arc::clone(&self.running).acquire_owned().await.map_err(|_| ModelError::Shutdown)
    }
}

#[async_trait]
impl Model for Limit {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&*self.inner)
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        // An invalid request is refused as such, also when everything is full.
        request.validate()?;
        let deadline = request.deadline;
        let place = self.place().await?;
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(ModelError::DeadlineExceeded { stage: "in the queue".into() });
        }
        let stream = self.inner.generate(request).await?;
        let origin = stream.origin.clone();
        Ok(EventStream::new(Placed { stream, place: Some(place) }).with_origin(origin))
    }

    fn load(&self) -> Load {
        let count = |permits: usize| u32::try_from(permits).unwrap_or(u32::MAX);
        let inner = self.inner.load();
        let slots = count(self.options.running);
        let waiting = self.options.queued.saturating_sub(self.queue.available_permits());
        Load {
            slots: inner.slots.min(slots),
            slots_free: inner.slots_free.min(count(self.running.available_permits())),
            queued_requests: inner.queued_requests.saturating_add(count(waiting)),
            ..inner
        }
    }
}

/// A stream and its place.
struct Placed {
    stream: EventStream,
    place: Option<OwnedSemaphorePermit>,
}

impl Stream for Placed {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = futures::ready!(Pin::new(&mut self.stream).poll_next(cx));
        if !matches!(event, Some(Ok(Event::Delta(_)))) {
            // Free before the end is seen: the caller's next request finds the place.
            self.place = None;
        }
        Poll::Ready(event)
    }
}
