//! The way of events from the worker to the caller.
//!
//! The channel holds a whole answer, so that a slow reader never holds up the worker, which serves everybody: an answer
//! is bounded by the context (some 100 bytes a token). What is not read within the deadline is dropped with the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::stream;
use llmo_core::model::{Event, Result};
use llmo_core::{EventStream, ModelError};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

/// The worker's end.
#[derive(Debug)]
pub(super) struct Sender {
    events: mpsc::Sender<Result<Event>>,
    started: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

/// Both ends of a channel for an answer of at most `tokens` tokens.
pub(super) fn channel(tokens: usize, deadline: Option<Instant>) -> (Sender, EventStream) {
    // Besides one delta a token: what is held back until the end, the finish or the error.
    let (events, receiver) = mpsc::channel(tokens.saturating_add(3));
    let started = Arc::new(AtomicBool::new(false));
    let reader = Reader { receiver, deadline, started: Arc::clone(&started) };
    let events_out = stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        let event = reader.next().await;
        let more = matches!(event, Ok(Event::Delta(_))).then_some(reader);
        Some((event, more))
    });
    (Sender { events, started, deadline }, EventStream::new(events_out))
}

impl Sender {
    /// The worker has begun with this request.
    pub(super) fn start(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// Nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.events.is_closed()
    }

    /// # Errors
    /// [`ModelError::DeadlineExceeded`] once the deadline has passed.
    pub(super) fn check_deadline(&self, now: Instant) -> Result<()> {
        match self.deadline {
            Some(deadline) if deadline <= now => Err(exceeded(self.started.load(Ordering::Relaxed))),
            _ => Ok(()),
        }
    }

    /// Never blocks: there is room for every event of the answer. Lost if nobody reads.
    pub(super) fn send(&self, event: Result<Event>) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            tracing::error!("an answer is longer than was announced; an event is lost");
        }
    }
}

struct Reader {
    receiver: mpsc::Receiver<Result<Event>>,
    deadline: Option<Instant>,
    started: Arc<AtomicBool>,
}

impl Reader {
    async fn next(&mut self) -> Result<Event> {
        let event = match self.deadline {
            None => self.receiver.recv().await,
            // Also while the request waits: the worker, busy with another, can't look at its deadline.
            Some(deadline) => match timeout_at(deadline.into(), self.receiver.recv()).await {
                Ok(event) => event,
                Err(_) => return Err(exceeded(self.started.load(Ordering::Relaxed))),
            },
        };
        event.unwrap_or_else(|| Err(ModelError::Internal("the worker dropped the request".into())))
    }
}

fn exceeded(started: bool) -> ModelError {
    ModelError::DeadlineExceeded { stage: if started { "while generating" } else { "in the queue" }.into() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt;
    use llmo_core::model::{Delta, Finish, FinishReason, Usage};

    use super::*;

    fn finish() -> Event {
        Event::Finish(Finish::new(FinishReason::Stop, Usage::new(1, 1)))
    }

    #[tokio::test]
    async fn nothing_follows_the_finish() {
        let (sender, stream) = channel(1, None);
        sender.send(Ok(Event::Delta(Delta::new("a", vec![1]))));
        sender.send(Ok(finish()));
        sender.send(Ok(finish()));
        assert_eq!(stream.count().await, 2);
    }

    #[tokio::test]
    async fn a_worker_that_vanishes_is_an_error_not_an_end() {
        let (sender, mut stream) = channel(1, None);
        drop(sender);
        assert!(matches!(stream.next().await, Some(Err(ModelError::Internal(_)))));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_the_stream_wherever_the_request_is() {
        for (started, stage) in [(false, "in the queue"), (true, "while generating")] {
            let (sender, mut stream) = channel(1, Some(Instant::now() + Duration::from_secs(5)));
            if started {
                sender.start();
            }
            let Some(Err(ModelError::DeadlineExceeded { stage: told })) = stream.next().await else { panic!() };
            assert_eq!(told, stage);
            drop(stream);
            assert!(sender.is_closed(), "the worker is told");
        }
    }
}
