//! Telling somebody what happens to generations.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_trait::async_trait;
use futures::Stream;

use crate::model::{
    Delta, Event, EventStream, Finish, GenerateRequest, Load, Model, ModelError, ModelInfo, Origin, Result,
};

/// Wants to know about generations: metrics, logs, traces.
///
/// Everything is called in the path of the request and must be quick. Durations are the observer's to compute, from the
/// instants it is given.
pub trait Observer: Send + Sync {
    /// A generation is asked for. What is returned follows it to its end.
    fn started(&self, model: &ModelInfo, request: &GenerateRequest, at: Instant) -> Box<dyn Observation>;
}

/// One generation under observation. Exactly one of [`finished`](Self::finished), [`failed`](Self::failed) and
/// [`cancelled`](Self::cancelled) is called last.
pub trait Observation: Send {
    /// The model has taken the request.
    fn accepted(&mut self, origin: &Origin, at: Instant) {
        let _ = (origin, at);
    }

    /// The first delta with text came.
    fn first_text(&mut self, at: Instant) {
        let _ = at;
    }

    /// A delta came, the first one too.
    fn delta(&mut self, delta: &Delta, at: Instant) {
        let _ = (delta, at);
    }

    /// It ended as it should.
    fn finished(self: Box<Self>, finish: &Finish, at: Instant);

    /// It was refused, or failed on the way.
    fn failed(self: Box<Self>, error: &ModelError, at: Instant);

    /// The caller left before the end.
    fn cancelled(self: Box<Self>, at: Instant);
}

/// Tells an [`Observer`] about every generation of a model.
pub struct Observe {
    inner: Arc<dyn Model>,
    observer: Arc<dyn Observer>,
}

impl Observe {
    /// Observes `inner`.
    pub fn new(inner: Arc<dyn Model>, observer: Arc<dyn Observer>) -> Self {
        Self { inner, observer }
    }
}

#[async_trait]
impl Model for Observe {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&*self.inner)
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        let started = self.observer.started(self.inner.info(), &request, Instant::now());
        let mut watch = Watch(Some(started));
        match self.inner.generate(request).await {
            Ok(stream) => {
                watch.tell(|observation| observation.accepted(&stream.origin, Instant::now()));
                let origin = stream.origin.clone();
                Ok(EventStream::new(Observed { stream, watch, text_seen: false }).with_origin(origin))
            }
            Err(error) => {
                watch.end(|observation| observation.failed(&error, Instant::now()));
                Err(error)
            }
        }
    }

    fn load(&self) -> Load {
        self.inner.load()
    }
}

/// An observation that is told of its cancellation when it is dropped before its end.
struct Watch(Option<Box<dyn Observation>>);

impl Watch {
    fn tell(&mut self, what: impl FnOnce(&mut dyn Observation)) {
        if let Some(observation) = &mut self.0 {
            what(observation.as_mut());
        }
    }

    fn end(&mut self, how: impl FnOnce(Box<dyn Observation>)) {
        if let Some(observation) = self.0.take() {
            how(observation);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end(|observation| observation.cancelled(Instant::now()));
    }
}

struct Observed {
    stream: EventStream,
    watch: Watch,
    text_seen: bool,
}

impl Stream for Observed {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let event = futures::ready!(Pin::new(&mut this.stream).poll_next(cx));
        let now = Instant::now();
        match &event {
            Some(Ok(Event::Delta(delta))) => {
                if !(this.text_seen || delta.text.is_empty() && delta.tool_calls.is_empty()) {
                    this.text_seen = true;
                    this.watch.tell(|observation| observation.first_text(now));
                }
                this.watch.tell(|observation| observation.delta(delta, now));
            }
            Some(Ok(Event::Finish(finish))) => this.watch.end(|observation| observation.finished(finish, now)),
            Some(Err(error)) => this.watch.end(|observation| observation.failed(error, now)),
            // After a finish there is nobody left to tell; without one the stream was cut.
            None => this.watch.end(|observation| {
                let message = "the stream ended without a finish".into();
                observation.failed(&ModelError::Upstream { message, started: true }, now);
            }),
        }
        Poll::Ready(event)
    }
}
