//! The stream of an answer, with its replica watched over while it runs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use llmo_core::model::{Event, EventStream, ModelError, Result};
use tokio::time::Sleep;

use super::Dispatcher;
use crate::replica::Lease;

/// How often a silent stream looks at its limits.
const TICK: Duration = Duration::from_millis(500);
/// A silent stream of a replica that health checks found down is given up after this long: a hung process keeps its
/// connections open.
const SILENT_AND_DOWN: Duration = Duration::from_secs(2);

/// A stream that has given its first output.
pub(super) struct Started {
    first: Event,
    rest: EventStream,
}

impl Started {
    /// Reads up to the first output. Whatever fails before it has not started, also if the upstream thinks otherwise.
    pub(super) async fn wait(mut stream: EventStream) -> Result<Self> {
        loop {
            match stream.next().await {
                // Some upstreams open with an empty delta; nobody would notice if it came from another replica.
                Some(Ok(Event::Delta(delta))) if delta.is_empty() => {}
                Some(Ok(first)) => return Ok(Self { first, rest: stream }),
                Some(Err(ModelError::Upstream { message, .. })) => {
                    return Err(ModelError::Upstream { message, started: false });
                }
                Some(Err(error)) => return Err(error),
                None => {
                    let message = "the stream ended before it began".into();
                    return Err(ModelError::Upstream { message, started: false });
                }
            }
        }
    }
}

/// The rest of a stream: holds the lease, ends what hangs, and reports how it went.
///
/// This is where a broken stream would be continued on another replica: it sees every token, and what comes after the
/// break need only be another [`EventStream`]. Until then a break is passed on as a typed error.
struct RoutedStream {
    dispatcher: Arc<Dispatcher>,
    first: Option<Event>,
    rest: EventStream,
    lease: Option<Lease>,
    deadline: Option<Instant>,
    /// Since when the next event is waited for; `None` while the caller has not asked for it. A slow reader's time is
    /// not the replica's.
    waiting: Option<Instant>,
    tick: Pin<Box<Sleep>>,
}

/// Passes a started stream on, watched over.
pub(super) fn watch(
    started: Started,
    lease: Lease,
    deadline: Option<Instant>,
    dispatcher: Arc<Dispatcher>,
) -> EventStream {
    let mut origin = started.rest.origin.clone();
    origin.replica = Some(lease.replica().id().to_owned());
    let now = Instant::now();
    lease.replica().heard(now);
    let stream = RoutedStream {
        dispatcher,
        first: Some(started.first),
        rest: started.rest,
        lease: Some(lease),
        deadline,
        waiting: None,
        tick: Box::pin(tokio::time::sleep(TICK)),
    };
    EventStream::new(stream).with_origin(origin)
}

impl Stream for RoutedStream {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(lease) = &this.lease else { return Poll::Ready(None) };
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(this.pass(first))));
        }
        match this.rest.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(event))) => {
                this.waiting = None;
                lease.replica().heard(Instant::now());
                Poll::Ready(Some(Ok(this.pass(event))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.give_up(begun(error))))),
            Poll::Ready(None) => Poll::Ready(Some(Err(this.give_up(broken("the stream ended without a finish"))))),
            Poll::Pending => {
                let error = ready!(this.poll_limits(cx));
                Poll::Ready(Some(Err(this.give_up(error))))
            }
        }
    }
}

impl RoutedStream {
    fn pass(&mut self, event: Event) -> Event {
        if matches!(event, Event::Finish(_))
            && let Some(lease) = self.lease.take()
        {
            self.dispatcher.judge_started(lease.replica(), None, Instant::now());
        }
        event
    }

    fn give_up(&mut self, error: ModelError) -> ModelError {
        if let Some(lease) = self.lease.take() {
            self.dispatcher.judge_started(lease.replica(), Some(&error), Instant::now());
        }
        error
    }

    /// Ready with the error that ends the stream, once a limit is passed.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<ModelError> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        loop {
            ready!(self.tick.as_mut().poll(cx));
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(ModelError::DeadlineExceeded { stage: "while generating".into() });
            }
            let silent = now.saturating_duration_since(since);
            if silent >= self.dispatcher.options().idle_timeout {
                return Poll::Ready(broken(&format!("no token for {} s", silent.as_secs())));
            }
            if silent >= SILENT_AND_DOWN && self.lease.as_ref().is_some_and(|lease| lease.replica().is_down()) {
                return Poll::Ready(broken("the replica went down"));
            }
            let tick = self.deadline.map_or(TICK, |deadline| TICK.min(deadline - now));
            self.tick.as_mut().reset((now + tick).into());
        }
    }
}

fn broken(message: &str) -> ModelError {
    ModelError::Upstream { message: message.to_owned(), started: true }
}

/// After the first output nothing is retryable, whatever the upstream says.
fn begun(error: ModelError) -> ModelError {
    match error {
        ModelError::Upstream { message, started: false } => ModelError::Upstream { message, started: true },
        other => other,
    }
}
