//! One caller's view of a shared generation.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::Stream;

use super::Shared;
use super::run::{Found, Run};
use crate::model::{CacheStatus, Delta, Event, EventStream, GenerateRequest, ModelError, Origin, Result};

/// Generations that may follow one that died. Each of them is shared by all that are left.
const MAX_ATTEMPTS: u32 = 3;

/// Reads a run from its start at its own pace.
pub(super) struct Subscriber {
    shared: Arc<Shared>,
    request: GenerateRequest,
    run: Arc<Run>,
    /// Did this caller's request start the run?
    first: bool,
    id: u64,
    /// Number of the next event.
    next: usize,
    /// What the caller has got.
    given: Progress,
    /// What a new run will give again.
    repeated: Progress,
    over: bool,
}

/// How much of an answer.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    text_bytes: usize,
    tokens: usize,
    logprobs: usize,
    /// Pieces of calls. Those of another generation have other ids, so an answer can't go on in the middle of them.
    calls: usize,
    prompt: usize,
}

impl Subscriber {
    pub(super) fn join(shared: Arc<Shared>, request: GenerateRequest) -> Self {
        let (run, first) = shared.join(&request, 0);
        let id = run.subscriber_id();
        let (given, repeated) = (Progress::default(), Progress::default());
        Self { shared, request, run, first, id, next: 0, given, repeated, over: false }
    }

    /// The stream, as soon as the inner model has accepted the request.
    pub(super) async fn accepted(mut self) -> Result<EventStream> {
        let origin = std::future::poll_fn(|cx| self.poll_accepted(cx)).await?;
        Ok(EventStream::new(self).with_origin(origin))
    }

    /// The generation may have a later deadline than this caller.
    fn too_late(&self) -> Option<ModelError> {
        let passed = self.request.deadline.is_some_and(|deadline| deadline <= Instant::now());
        passed.then(|| ModelError::DeadlineExceeded { stage: "while another request generated the answer".into() })
    }

    fn poll_accepted(&mut self, cx: &mut Context<'_>) -> Poll<Result<Origin>> {
        loop {
            if let Some(error) = self.too_late() {
                return Poll::Ready(Err(error));
            }
            match futures::ready!(self.run.find_accepted(self.id, cx.waker())) {
                // Refused before there was a stream.
                Found::Failed(error) if self.run.origin().is_none() => {
                    if let Some(error) = self.start_again(Some(error)) {
                        return Poll::Ready(Err(error));
                    }
                }
                Found::Died if self.run.origin().is_none() => {
                    if let Some(error) = self.start_again(None) {
                        return Poll::Ready(Err(error));
                    }
                }
                _ => {
                    let mut origin = self.run.origin().unwrap_or_default();
                    if !self.first {
                        origin.cache = CacheStatus::Coalesced;
                    }
                    return Poll::Ready(Ok(origin));
                }
            }
        }
    }

    /// After a generation has failed (or died, with `None`): joins the one that follows it, or starts it. Gives the error
    /// back where it is this caller's to bear.
    fn start_again(&mut self, error: Option<ModelError>) -> Option<ModelError> {
        let others_deadline = matches!(error, Some(ModelError::DeadlineExceeded { .. })) && !self.first;
        if !(error.is_none() || others_deadline) || self.run.attempt >= MAX_ATTEMPTS || self.given.calls > 0 {
            return error.or_else(|| Some(ModelError::Internal("the generation died".into())));
        }
        self.run.bell.leave(self.id);
        (self.run, self.first) = self.shared.join(&self.request, self.run.attempt + 1);
        self.id = self.run.subscriber_id();
        self.next = 0;
        self.repeated = self.given;
        None
    }
}

impl Stream for Subscriber {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.over {
            if let Some(error) = this.too_late() {
                this.over = true;
                return Poll::Ready(Some(Err(error)));
            }
            let error = match this.run.find(this.next, this.id, cx.waker()) {
                Found::Nothing => return Poll::Pending,
                Found::Event(Event::Delta(delta)) => {
                    this.next += 1;
                    match this.repeated.cut_from(delta) {
                        Some(delta) => {
                            this.given.add(&delta);
                            return Poll::Ready(Some(Ok(Event::Delta(delta))));
                        }
                        None => continue,
                    }
                }
                Found::Event(finish) => {
                    this.over = true;
                    return Poll::Ready(Some(Ok(finish)));
                }
                Found::Over => break,
                Found::Failed(error) => Some(error),
                Found::Died => None,
                Found::TooLate => {
                    let message = "the caller was too far behind a generation that others share".into();
                    Some(ModelError::Upstream { message, started: true })
                }
            };
            if let Some(error) = this.start_again(error) {
                this.over = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
        this.over = true;
        Poll::Ready(None)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.run.bell.leave(self.id);
    }
}

impl Progress {
    fn add(&mut self, delta: &Delta) {
        self.text_bytes += delta.text.len();
        self.tokens += delta.tokens.len();
        self.logprobs += delta.logprobs.len();
        self.calls += delta.tool_calls.len();
        self.prompt += delta.prompt.len();
    }

    /// Cuts what the caller has already from a delta; `None` if nothing is left. The same deterministic request gives the
    /// same text and tokens, but not always in the same pieces.
    fn cut_from(&mut self, mut delta: Delta) -> Option<Delta> {
        if self.text_bytes + self.tokens + self.logprobs + self.prompt == 0 {
            return Some(delta);
        }
        let mut bytes = self.text_bytes.min(delta.text.len());
        while !delta.text.is_char_boundary(bytes) {
            bytes -= 1;
        }
        let (tokens, logprobs) = (self.tokens.min(delta.tokens.len()), self.logprobs.min(delta.logprobs.len()));
        delta.text.drain(..bytes);
        delta.tokens.drain(..tokens);
        delta.logprobs.drain(..logprobs);
        let prompt = self.prompt.min(delta.prompt.len());
        delta.prompt.drain(..prompt);
        *self = Self {
            text_bytes: self.text_bytes - bytes,
            tokens: self.tokens - tokens,
            logprobs: self.logprobs - logprobs,
            calls: 0,
            prompt: self.prompt - prompt,
        };
        (!delta.is_empty()).then_some(delta)
    }
}
