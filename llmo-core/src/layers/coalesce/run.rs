//! One shared generation.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use futures::future::BoxFuture;

use super::bell::Bell;
use super::identity::Identity;
use super::{CoalesceOptions, Shared};
use crate::model::{Event, EventStream, GenerateRequest, ModelError, Origin, Result};

/// What a subscriber finds at its place.
#[derive(Debug)]
pub(super) enum Found {
    Event(Event),
    /// Wait for the bell.
    Nothing,
    /// The stream ended with this error.
    Failed(ModelError),
    /// The stream ended.
    Over,
    /// Nobody will ever make another event: polling the inner stream panicked.
    Died,
    /// The events at this place are no longer kept.
    TooLate,
}

/// A generation and the events it has given so far.
pub(super) struct Run {
    shared: Weak<Shared>,
    identity: Arc<Identity>,
    options: CoalesceOptions,
    /// How many generations came before it, for the same subscribers.
    pub(super) attempt: u32,
    pub(super) bell: Arc<Bell>,
    open: AtomicBool,
    next_subscriber: AtomicU64,
    core: Mutex<Core>,
}

struct Core {
    source: Source,
    /// Events from number `first` on.
    events: VecDeque<Event>,
    first: usize,
    bytes: usize,
    origin: Option<Origin>,
    /// How it ended: with an error or just so.
    end: Option<Option<ModelError>>,
}

enum Source {
    Accepting(BoxFuture<'static, Result<EventStream>>),
    Streaming(EventStream),
    Gone,
}

impl Run {
    pub(super) fn new(shared: &Arc<Shared>, request: GenerateRequest, identity: Arc<Identity>, attempt: u32) -> Self {
        let inner = Arc::clone(&shared.inner);
        let source = Source::Accepting(Box::pin(async move { inner.generate(request).await }));
        let core = Core { source, events: VecDeque::new(), first: 0, bytes: 0, origin: None, end: None };
        Self {
            shared: Arc::downgrade(shared),
            identity,
            options: shared.options.clone(),
            attempt,
            bell: Arc::default(),
            open: AtomicBool::new(true),
            next_subscriber: AtomicU64::new(0),
            core: Mutex::new(core),
        }
    }

    /// Can it be joined?
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(super) fn subscriber_id(&self) -> u64 {
        self.next_subscriber.fetch_add(1, Ordering::Relaxed)
    }

    /// Where its answer comes from, as soon as the inner model has accepted the request.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.core().origin.clone()
    }

    /// The event of this number, for the subscriber `id`; drives the generation if it isn't there yet.
    pub(super) fn find(&self, number: usize, id: u64, waker: &Waker) -> Found {
        let mut core = self.core();
        loop {
            match core.at(number) {
                Found::Nothing => {}
                found => return found,
            }
            // First asleep, then a look at the bell: a ring in between wakes this subscriber.
            self.bell.sleep(id, waker);
            if !self.bell.take_rung() || !self.drive(&mut core, id) {
                return core.at(number);
            }
        }
    }

    /// Drives the generation until it is accepted or has failed.
    pub(super) fn find_accepted(&self, id: u64, waker: &Waker) -> Poll<Found> {
        let mut core = self.core();
        loop {
            match core.at(core.first) {
                Found::Nothing if core.origin.is_none() => {}
                found => return Poll::Ready(found),
            }
            self.bell.sleep(id, waker);
            if !self.bell.take_rung() || !self.drive(&mut core, id) {
                return if core.origin.is_some() || core.is_over() { continue } else { Poll::Pending };
            }
        }
    }

    /// Polls the source once, on behalf of the subscriber `id`; true if something came of it.
    fn drive(&self, core: &mut Core, id: u64) -> bool {
        // If polling panics, the source is gone and the others must hear of it.
        let alarm = Alarm(self);
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut cx = Context::from_waker(&waker);
        let progress = match std::mem::replace(&mut core.source, Source::Gone) {
            Source::Accepting(mut accepting) => match accepting.as_mut().poll(&mut cx) {
                Poll::Pending => {
                    core.source = Source::Accepting(accepting);
                    false
                }
                Poll::Ready(Ok(stream)) => {
                    core.origin = Some(stream.origin.clone());
                    core.source = Source::Streaming(stream);
                    true
                }
                Poll::Ready(Err(error)) => core.ended(Some(error)),
            },
            Source::Streaming(mut stream) => match Pin::new(&mut stream).poll_next(&mut cx) {
                Poll::Pending => {
                    core.source = Source::Streaming(stream);
                    false
                }
                Poll::Ready(Some(Ok(event))) => {
                    if matches!(event, Event::Delta(_)) {
                        core.source = Source::Streaming(stream);
                    } else {
                        core.ended(None);
                    }
                    core.push(event)
                }
                Poll::Ready(Some(Err(error))) => core.ended(Some(error)),
                Poll::Ready(None) => core.ended(None),
            },
            Source::Gone => false,
        };
        std::mem::forget(alarm);
        if core.is_over() {
            self.close();
        } else if core.bytes > self.options.buffer_bytes {
            self.close();
            core.trim(self.options.buffer_bytes);
        }
        if progress {
            // The others have something to read, and there may be more at once. This one is awake.
            self.bell.leave(id);
            self.bell.ring();
        }
        progress
    }

    /// Nobody joins any more: the next identical request starts anew.
    fn close(&self) {
        if self.open.swap(false, Ordering::AcqRel) {
            self.forget();
        }
    }

    fn forget(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.forget(&self.identity, self);
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if *self.open.get_mut() {
            self.forget();
        }
    }
}

/// Wakes everybody when it is dropped, that is: in a panic.
struct Alarm<'a>(&'a Run);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.close();
        self.0.bell.ring();
    }
}

impl Core {
    fn at(&self, number: usize) -> Found {
        let Some(index) = number.checked_sub(self.first) else { return Found::TooLate };
        if let Some(event) = self.events.get(index) {
            return Found::Event(event.clone());
        }
        match &self.end {
            Some(Some(error)) => Found::Failed(error.clone()),
            Some(None) => Found::Over,
            None if self.is_over() => Found::Died,
            None => Found::Nothing,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.source, Source::Gone)
    }

    fn ended(&mut self, error: Option<ModelError>) -> bool {
        self.end = Some(error);
        true
    }

    fn push(&mut self, event: Event) -> bool {
        self.bytes += size(&event);
        self.events.push_back(event);
        true
    }

    /// Gives up the oldest events. Who has not read them is cut off.
    fn trim(&mut self, most: usize) {
        while self.bytes > most && self.events.len() > 1 {
            let Some(event) = self.events.pop_front() else { return };
            self.bytes -= size(&event);
            self.first += 1;
        }
    }
}

/// About what an event takes in memory, in bytes.
fn size(event: &Event) -> usize {
    let Event::Delta(delta) = event else { return size_of::<Event>() };
    let logprobs = delta.logprobs.iter().map(|entry| 64 + 48 * entry.top.len()).sum::<usize>();
    let prompt = delta.prompt.iter().map(|entry| 64 + 48 * entry.top.len()).sum::<usize>();
    size_of::<Event>() + delta.text.len() + size_of_val(&delta.tokens[..]) + logprobs + prompt
}
