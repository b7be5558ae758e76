//! The reader's end of a generation.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use llmo_core::ModelError;
use llmo_core::model::Event;
use tokio::sync::mpsc;

use super::super::protocol::WINDOW;
use super::link::Ticket;
use super::state::Keeper;

/// The events of a generation. Dropping it cancels the generation.
pub(super) struct Events {
    events: mpsc::Receiver<Result<Event, ModelError>>,
    ticket: Ticket,
    /// Taken, and not yet told.
    taken: u32,
    over: bool,
    /// The process lives as long as its streams.
    _keeper: Arc<Keeper>,
}

impl Events {
    pub(super) fn new(events: mpsc::Receiver<Result<Event, ModelError>>, ticket: Ticket, keeper: Arc<Keeper>) -> Self {
        Self { events, ticket, taken: 0, over: false, _keeper: keeper }
    }
}

impl Stream for Events {
    type Item = Result<Event, ModelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let event = ready!(self.events.poll_recv(cx));
        match &event {
            Some(Ok(Event::Finish(_)) | Err(_)) => self.over = true,
            Some(Ok(_)) => {
                self.taken += 1;
                if self.taken >= WINDOW / 2 {
                    self.ticket.credit(self.taken);
                    self.taken = 0;
                }
            }
            None => {
                self.over = true;
                let message = "the engine's connection ended in the middle of a stream".to_owned();
                return Poll::Ready(Some(Err(ModelError::Upstream { message, started: true })));
            }
        }
        Poll::Ready(event)
    }
}
