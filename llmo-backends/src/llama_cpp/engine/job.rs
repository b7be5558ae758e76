//! A request as the engine sees it.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use llmo_core::ModelError;
use llmo_core::model::{Event, GenerateRequest, TokenId};
use tokio::sync::{mpsc, oneshot};

use super::admission::Queued;
use super::events::Events;
use super::mailbox::Mailbox;
use crate::constraint::Matcher;

/// Events that may wait for a reader. 64 deltas of one token are a few KiB; past that the stream pauses.
const UNREAD_EVENTS: usize = 64;

/// Output of a request, in tokens, as far as it is counted before it is there: most requests end long before their limit.
pub(super) const RESERVE: u32 = 256;

/// A request whose prompt is tokens and fits the context.
pub(in super::super) struct Job {
    /// The request. Its prompt has been taken out of it.
    pub(super) request: GenerateRequest,
    /// The whole prompt, and behind it the request's `output_prefix`; at least one token.
    pub(super) prompt: Vec<TokenId>,
    /// What the output is held to.
    pub(super) held: Held,
    /// Most tokens to generate; prompt and these fit the context.
    pub(super) max_tokens: u32,
    /// When it was handed in.
    pub(super) queued_at: Instant,
    /// Told once, when a slot was found or will never be.
    pub(super) started: oneshot::Sender<Result<(), ModelError>>,
    /// Where its events go.
    pub(super) output: Output,
}

/// What an output is held to, and which control tokens are part of its text.
#[derive(Debug, Default)]
pub(in super::super) struct Held {
    /// Follows the output; it has seen `output_prefix` already.
    pub(in super::super) matcher: Option<Matcher>,
    /// Control tokens that whoever reads the text must see, with their texts: the marks of tool calls.
    pub(in super::super) shown: Vec<(TokenId, String)>,
}

/// The engine's end of a request's events.
#[derive(Debug)]
pub(super) struct Output {
    sender: mpsc::Sender<Result<Event, ModelError>>,
    verdict: Arc<OnceLock<ModelError>>,
}

impl Output {
    /// Does the caller still want it?
    pub(super) fn is_wanted(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Is there room for what one step may send: a delta, the rest of the text and the finish?
    pub(super) fn has_room(&self) -> bool {
        self.sender.capacity() >= 3
    }

    /// How many events can be sent now.
    pub(super) fn room(&self) -> usize {
        self.sender.capacity()
    }

    /// Sends an event. False if nobody reads any more. Only after [`has_room`](Self::has_room).
    pub(super) fn send(&self, event: Event) -> bool {
        self.sender.try_send(Ok(event)).is_ok()
    }

    /// Ends the stream with an error. It reaches the reader even if the channel is full.
    pub(super) fn fail(self, error: ModelError) {
        if let Err(mpsc::error::TrySendError::Full(Err(error))) = self.sender.try_send(Err(error)) {
            // The first verdict is the only one: `self` is consumed.
            let _ = self.verdict.set(error);
        }
    }
}

impl Job {
    /// Refuses a job that never got a slot.
    pub(super) fn refuse(self, error: ModelError) {
        // Nobody to tell if the caller has left.
        let _ = self.started.send(Err(error));
    }

    /// Does the caller still wait?
    pub(super) fn is_wanted(&self) -> bool {
        !self.started.is_closed()
    }
}

impl Queued for Job {
    fn tenant(&self) -> Option<&str> {
        self.request.tenant.as_deref()
    }

    fn priority(&self) -> i8 {
        self.request.priority
    }

    fn tokens(&self) -> u64 {
        self.prompt.len() as u64 + u64::from(self.max_tokens.min(RESERVE))
    }

    fn queued_at(&self) -> Instant {
        self.queued_at
    }
}

/// Makes a job and the caller's two ends of it: whether it was started, and its events.
pub(in super::super) fn job(
    request: GenerateRequest,
    prompt: Vec<TokenId>,
    max_tokens: u32,
    held: Held,
    mailbox: &Arc<Mailbox>,
) -> (Job, oneshot::Receiver<Result<(), ModelError>>, Events) {
    let (started, is_started) = oneshot::channel();
    let (sender, receiver) = mpsc::channel(UNREAD_EVENTS);
    let verdict = Arc::new(OnceLock::new());
    let events = Events::new(receiver, Arc::clone(&verdict), Arc::clone(mailbox));
    let output = Output { sender, verdict };
    (Job { request, prompt, held, max_tokens, queued_at: Instant::now(), started, output }, is_started, events)
}
