//! The caller's end of a request: a stream of events that cancels when it is dropped.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures::Stream;
use llmo_core::ModelError;
use llmo_core::model::Event;
use tokio::sync::mpsc;

use super::mailbox::Mailbox;

/// Events of one request. Reading wakes an engine that waits for room; dropping wakes one that waits for anything.
pub(in super::super) struct Events {
    receiver: mpsc::Receiver<Result<Event, ModelError>>,
    verdict: Arc<OnceLock<ModelError>>,
    mailbox: Arc<Mailbox>,
    ended: bool,
}

impl Events {
    pub(super) fn new(
        receiver: mpsc::Receiver<Result<Event, ModelError>>,
        verdict: Arc<OnceLock<ModelError>>,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        Self { receiver, verdict, mailbox, ended: false }
    }
}

impl Stream for Events {
    type Item = Result<Event, ModelError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = ready!(self.receiver.poll_recv(cx)).unwrap_or_else(|| {
            // The engine let go without a last word in the channel: it was full, or the engine died.
            let died = || ModelError::Internal("the engine stopped while it generated".into());
            Err(self.verdict.get().cloned().unwrap_or_else(died))
        });
        self.ended = !matches!(item, Ok(Event::Delta(_)));
        self.mailbox.wake();
        Poll::Ready(Some(item))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.receiver.close();
        self.mailbox.wake();
    }
}
