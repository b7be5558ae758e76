//! The stream of an answer, with its replica watched over while it runs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use llmo_core::model::{Event, EventStream, GenerateRequest, ModelError, Result};
use tokio::time::Sleep;

use super::continuation::Continuation;
use super::dispatch::SILENCE;
use super::journal::Journal;
use super::{Dispatcher, Fate, poison};
use crate::replica::Lease;

/// How often a silent stream looks at its limits.
const TICK: Duration = Duration::from_millis(250);
/// A silent stream of a replica that health checks found down is given up after this long: a hung process keeps its
/// connections open.
const SILENT_AND_DOWN: Duration = Duration::from_millis(750);

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
                Some(Err(ModelError::EngineDied { message, .. })) => {
                    return Err(ModelError::EngineDied { message, started: false });
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

/// A stream for the caller, whichever replicas it comes from: holds the lease, ends what hangs, goes on elsewhere with
/// what breaks, and reports how it went.
struct RoutedStream {
    dispatcher: Arc<Dispatcher>,
    model: Arc<str>,
    /// What was asked. Kept where the stream can be continued.
    request: Option<Box<GenerateRequest>>,
    deadline: Option<Instant>,
    journal: Journal,
    source: Source,
    /// Since when the next event is waited for; `None` while the caller has not asked for it. A slow reader's time is
    /// not the replica's.
    waiting: Option<Instant>,
    /// Made for the first wait: many answers come whole, behind their first output.
    tick: Option<Pin<Box<Sleep>>>,
}

/// Where the next event comes from.
#[expect(clippy::large_enum_variant, reason = "a stream has one, and it is nearly always the large variant")]
enum Source {
    Replica {
        first: Option<Event>,
        rest: EventStream,
        lease: Lease,
    },
    /// It broke; another replica is being found.
    Moving(BoxFuture<'static, Result<(Started, Lease)>>),
    /// The last event is out.
    Over,
}

/// Passes a started stream on, watched over.
pub(super) fn watch(
    started: Started,
    lease: Lease,
    model: &str,
    request: GenerateRequest,
    can_continue: bool,
    dispatcher: Arc<Dispatcher>,
) -> EventStream {
    let mut origin = started.rest.origin.clone();
    origin.replica = Some(lease.replica().id().to_owned());
    lease.replica().heard(Instant::now());
    let stream = RoutedStream {
        dispatcher,
        model: model.into(),
        deadline: request.deadline,
        journal: Journal::behind(request.output_prefix.clone()),
        request: can_continue.then(|| Box::new(request)),
        source: Source::Replica { first: Some(started.first), rest: started.rest, lease },
        waiting: None,
        tick: None,
    };
    EventStream::new(stream).with_origin(origin)
}

impl Stream for RoutedStream {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let error = match &mut this.source {
                Source::Over => return Poll::Ready(None),
                Source::Moving(moving) => match ready!(moving.poll_unpin(cx)) {
                    Ok((Started { first, rest }, lease)) => {
                        this.dispatcher.metrics().continued(true);
                        lease.replica().heard(Instant::now());
                        this.source = Source::Replica { first: Some(first), rest, lease };
                        continue;
                    }
                    Err(error) => {
                        this.dispatcher.metrics().continued(false);
                        this.source = Source::Over;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                Source::Replica { first, rest, lease } => {
                    if let Some(first) = first.take() {
                        return Poll::Ready(Some(Ok(this.pass(first))));
                    }
                    match rest.poll_next_unpin(cx) {
                        Poll::Ready(Some(Ok(event))) => {
                            this.waiting = None;
                            lease.replica().heard(Instant::now());
                            return Poll::Ready(Some(Ok(this.pass(event))));
                        }
                        Poll::Ready(Some(Err(error))) => begun(error),
                        Poll::Ready(None) => broken("the stream ended without a finish"),
                        Poll::Pending => ready!(this.poll_limits(cx)),
                    }
                }
            };
            if let Some(error) = this.move_on(error) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl RoutedStream {
    fn pass(&mut self, event: Event) -> Event {
        match &event {
            Event::Delta(delta) => {
                self.journal.note(delta);
                if let Source::Replica { lease, .. } = &mut self.source {
                    lease.wrote(delta.tokens.len().max(1));
                }
            }
            Event::Finish(_) => {
                if let Source::Replica { lease, .. } = std::mem::replace(&mut self.source, Source::Over) {
                    self.dispatcher.judge_started(lease.replica(), None, Instant::now());
                }
            }
            _ => {}
        }
        event
    }

    /// Leaves the replica; the error, if no other can go on.
    fn move_on(&mut self, error: ModelError) -> Option<ModelError> {
        let Source::Replica { lease, .. } = std::mem::replace(&mut self.source, Source::Over) else {
            return Some(error);
        };
        self.dispatcher.judge_started(lease.replica(), Some(&error), Instant::now());
        if !matches!(Fate::of(&error), Fate::Lost | Fate::Failed) {
            return Some(error);
        }
        let Some(request) = self.request.as_deref().filter(|_| self.journal.may_move()) else {
            return Some(error);
        };
        if poison::is_death(&error) && self.journal.died() {
            let error = poison::crashed();
            self.dispatcher.poison.learn(&self.model, request, &error, Instant::now());
            return Some(error);
        }
        let mut request = request.clone();
        self.journal.resume(&mut request);
        let continuation = Continuation {
            dispatcher: Arc::clone(&self.dispatcher),
            model: Arc::clone(&self.model),
            request,
            broken: Arc::clone(lease.replica()),
            cause: error,
        };
        self.waiting = None;
        self.source = Source::Moving(continuation.run().boxed());
        None
    }

    /// Ready with the error that ends the stream, once a limit is passed.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<ModelError> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        loop {
            ready!(self.tick.get_or_insert_with(|| Box::pin(tokio::time::sleep(TICK))).as_mut().poll(cx));
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(ModelError::DeadlineExceeded { stage: "while generating".into() });
            }
            let silent = now.saturating_duration_since(since);
            if silent >= self.dispatcher.options().idle_timeout {
                return Poll::Ready(broken(&format!("no token for {} s", silent.as_secs())));
            }
            if let Source::Replica { lease, .. } = &self.source {
                if silent >= SILENT_AND_DOWN && lease.replica().is_down() {
                    return Poll::Ready(broken("the replica went down"));
                }
                if silent >= SILENCE {
                    lease.replica().doubt(SILENCE, now);
                }
            }
            let tick = self.deadline.map_or(TICK, |deadline| TICK.min(deadline - now));
            if let Some(timer) = &mut self.tick {
                timer.as_mut().reset((now + tick).into());
            }
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
        ModelError::EngineDied { message, started: false } => ModelError::EngineDied { message, started: true },
        other => other,
    }
}
