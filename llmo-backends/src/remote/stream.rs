//! The answer of an upstream while it comes in.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use llmo_core::model::{Event, Finish, ModelError, Result};
use tokio::time::Instant;

use super::client::{Body, Response};
use super::in_flight::Guard;
use super::patience::Patience;
use super::response::{Read, Reader};
use super::sse::SseParser;
use super::timer::Timer;
use super::transport;

/// How long the end of the body may lie behind `[DONE]`. A connection whose body was read to its end serves the next
/// request; one whose was not has to be closed.
const GRACE: Duration = Duration::from_millis(100);

/// The events of an answer that is being read. Dropping it closes the connection, unless the answer was complete.
#[derive(Debug)]
pub struct Answer {
    body: Body,
    understood: Understood,
    timer: Timer,
    /// The caller waits for an event.
    is_asked: bool,
}

/// What the bytes that came mean.
#[derive(Debug)]
struct Understood {
    parser: SseParser,
    reader: Reader,
    patience: Patience,
    /// Read and not yet given out.
    ready: Ready,
    /// The finish or the error that comes behind them.
    last: Option<Result<Event>>,
    stage: Stage,
    /// Counts the request as running, until the answer is complete.
    running: Option<Guard>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Reading,
    /// The answer is complete, and the end of its body is waited for: since the first wait, until this time.
    Ending(Option<Instant>),
    Over,
}

/// A queue that needs no memory of its own while there is one event at a time.
#[derive(Debug, Default)]
struct Ready {
    first: Option<Event>,
    others: VecDeque<Event>,
}

impl Ready {
    fn push(&mut self, event: Event) {
        match &self.first {
            None => self.first = Some(event),
            Some(_) => self.others.push_back(event),
        }
    }

    fn pop(&mut self) -> Option<Event> {
        let first = self.first.take()?;
        self.first = self.others.pop_front();
        Some(first)
    }
}

impl Answer {
    /// Begins to read a response whose head has come.
    #[must_use]
    pub fn new(response: Response, max_event_bytes: usize, reader: Reader, patience: Patience, running: Guard) -> Self {
        let understood = Understood {
            parser: SseParser::new(max_event_bytes),
            reader,
            patience,
            ready: Ready::default(),
            last: None,
            stage: Stage::Reading,
            running: Some(running),
        };
        Self { body: response.body, understood, timer: Timer::default(), is_asked: false }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        loop {
            if let Some(event) = self.understood.ready.pop() {
                return Poll::Ready(Some(Ok(event)));
            }
            match self.understood.stage {
                Stage::Reading => ready!(self.poll_more(cx)),
                Stage::Ending(until) => ready!(self.poll_end(cx, until)),
                Stage::Over => return Poll::Ready(self.understood.last.take()),
            }
        }
    }

    /// Ready when something came, or patience has ended.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let understood = &mut self.understood;
        match self.body.poll_data(cx, |bytes| understood.take(bytes)) {
            Poll::Ready(Ok(Some(()))) => {}
            Poll::Ready(Ok(None)) => understood.end(understood.reader.finish(), Stage::Over),
            Poll::Ready(Err(error)) => {
                // Only the end of the body is missing if the upstream has said why it stopped.
                let broken = transport::broken(&*error, understood.reader.started());
                understood.end(understood.reader.finish().map_err(|_| broken), Stage::Over);
            }
            Poll::Pending => {
                let Some(until) = understood.patience.until() else { return Poll::Pending };
                ready!(self.timer.poll_until(cx, until));
                understood.end(Err(understood.patience.exhausted()), Stage::Over);
            }
        }
        Poll::Ready(())
    }

    /// Ready at the end of the body, or when there was time enough for it to come: whatever happens, the answer is complete.
    fn poll_end(&mut self, cx: &mut Context<'_>, until: Option<Instant>) -> Poll<()> {
        loop {
            match self.body.poll_data(cx, |_| ()) {
                Poll::Ready(Ok(Some(()))) => {}
                Poll::Ready(Ok(None) | Err(_)) => break,
                Poll::Pending => {
                    let until = until.unwrap_or_else(|| Instant::now() + GRACE);
                    self.understood.stage = Stage::Ending(Some(until));
                    ready!(self.timer.poll_until(cx, until));
                    break;
                }
            }
        }
        self.understood.stage = Stage::Over;
        Poll::Ready(())
    }
}

impl Stream for Answer {
    type Item = Result<Event>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answer = self.get_mut();
        if !answer.is_asked {
            answer.is_asked = true;
            // Time that the caller took to ask again is not the upstream's.
            answer.understood.patience.ask_now();
        }
        let event = ready!(answer.poll_event(cx));
        answer.is_asked = false;
        Poll::Ready(event)
    }
}

impl Understood {
    /// Reads the events that these bytes complete.
    fn take(&mut self, bytes: &[u8]) {
        let mut events = self.parser.events(bytes);
        let (finish, stage) = loop {
            let Some(event) = events.next() else { return };
            let read = match event {
                Ok(event) => self.reader.read(&event),
                Err(error) => Err(self.reader.broken(&error.to_string())),
            };
            match read {
                Ok(Read::Nothing) => {}
                Ok(Read::Delta(delta)) => {
                    self.patience.token_now();
                    self.ready.push(Event::Delta(delta));
                }
                Ok(Read::Done) => break (self.reader.finish(), Stage::Ending(None)),
                Err(error) => break (Err(error), Stage::Over),
            }
        };
        drop(events);
        self.end(finish, stage);
    }

    fn end(&mut self, finish: Result<Finish>, stage: Stage) {
        self.last = Some(finish.map(Event::Finish));
        self.stage = stage;
        self.running = None;
    }
}

/// The error for an answer that is neither a stream nor JSON.
#[must_use]
pub fn strange_type(content_type: &str) -> ModelError {
    ModelError::Upstream { message: format!("it answered with {content_type:?} instead of a stream"), started: false }
}
