//! The answer of an upstream while it comes in.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use llmo_core::model::{Event, Finish, ModelError, Result};
use tokio::time::Instant;

use super::client::Response;
use super::in_flight::Guard;
use super::patience::Patience;
use super::response::{Read, Reader};
use super::sse::SseParser;
use super::transport;

/// How long the end of the body may lie behind `[DONE]`. A connection whose body was read to its end serves the next
/// request; one whose was not has to be closed.
const GRACE: Duration = Duration::from_millis(100);

/// An answer that is being read. Dropping it closes the connection, unless the answer was complete.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    parser: SseParser,
    reader: Reader,
    patience: Patience,
    /// Read and not yet given out. An error is the last.
    ready: VecDeque<Result<Event>>,
    over: bool,
    /// Counts the request as running, until the answer is complete.
    running: Option<Guard>,
}

impl Answer {
    /// Begins to read a response whose head has come.
    #[must_use]
    pub fn new(response: Response, max_event_bytes: usize, reader: Reader, patience: Patience, running: Guard) -> Self {
        let parser = SseParser::new(max_event_bytes);
        Self { response, parser, reader, patience, ready: VecDeque::new(), over: false, running: Some(running) }
    }

    /// The events.
    pub fn events(self) -> impl Stream<Item = Result<Event>> + Send + 'static {
        futures::stream::try_unfold(self, |mut answer| async move {
            let event = answer.next().await.transpose()?;
            Ok(event.map(|event| (event, answer)))
        })
    }

    async fn next(&mut self) -> Option<Result<Event>> {
        // Time that the caller took to ask again is not the upstream's.
        self.patience.ask(Instant::now());
        while self.ready.is_empty() && !self.over {
            match self.patience.wait(self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.take(&bytes).await,
                Ok(Ok(None)) => {
                    let finish = self.reader.finish();
                    self.end(finish);
                }
                Ok(Err(error)) => {
                    // Only the end of the body is missing if the upstream has said why it stopped.
                    let broken = transport::broken(&*error, self.reader.started());
                    let finish = self.reader.finish().map_err(|_| broken);
                    self.end(finish);
                }
                Err(exhausted) => self.end(Err(exhausted)),
            }
        }
        self.ready.pop_front()
    }

    /// Reads the events that these bytes complete.
    async fn take(&mut self, bytes: &[u8]) {
        let events = match self.parser.push(bytes) {
            Ok(events) => events,
            Err(error) => {
                let broken = self.reader.broken(&error.to_string());
                return self.end(Err(broken));
            }
        };
        for event in events {
            match self.reader.event(&event) {
                Ok(Read::Nothing) => {}
                Ok(Read::Delta(delta)) => {
                    self.patience.token(Instant::now());
                    self.ready.push_back(Ok(Event::Delta(delta)));
                }
                Ok(Read::Done) => {
                    let finish = self.reader.finish();
                    self.end(finish);
                    return self.read_to_end().await;
                }
                Err(error) => return self.end(Err(error)),
            }
        }
    }

    fn end(&mut self, finish: Result<Finish>) {
        self.ready.push_back(finish.map(Event::Finish));
        self.over = true;
        self.running = None;
    }

    async fn read_to_end(&mut self) {
        let rest = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        // Whatever happens, the answer is complete.
        let _ = tokio::time::timeout(GRACE, rest).await;
    }
}

/// The error for an answer that is neither a stream nor JSON.
#[must_use]
pub fn strange_type(content_type: &str) -> ModelError {
    ModelError::Upstream { message: format!("it answered with {content_type:?} instead of a stream"), started: false }
}
