//! The connection to one process, and the requests on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use llmo_core::ModelError;
use llmo_core::model::{Event, Load};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::super::protocol::{Answer, Call, CallId, Command, Report, Run, WINDOW};
use super::super::wire::{Outbox, SendError};
use super::suspects::{Fingerprint, Suspects, Witness};

/// Where the answer to a call goes.
pub(super) enum Reply {
    /// A generation: first whether it was accepted, then its events. There is always room for an error behind a whole
    /// window of events.
    Stream { started: Option<oneshot::Sender<Result<(), ModelError>>>, events: mpsc::Sender<Result<Event, ModelError>> },
    /// Anything else.
    Once(oneshot::Sender<Result<Answer, ModelError>>),
}

impl Reply {
    /// Says that it failed.
    fn fail(self, error: ModelError) {
        // A caller that left does not need to know.
        match self {
            Self::Stream { started: Some(started), .. } => drop(started.send(Err(error))),
            Self::Stream { started: None, events } => drop(events.try_send(Err(error))),
            Self::Once(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// A suspect's turn: no other suspect comes into the engine until it has got far enough.
pub(super) struct Probation {
    pub(super) _turn: OwnedSemaphorePermit,
    /// Tokens after which the next may come.
    pub(super) tokens: u64,
}

/// A call that is being worked on.
pub(super) struct Open {
    pub(super) request_id: Option<String>,
    pub(super) operation: &'static str,
    pub(super) fingerprint: Fingerprint,
    /// Output has been passed on: it can't be taken back.
    pub(super) has_output: bool,
    suspected: bool,
    probation: Option<Probation>,
    tokens: u64,
    /// Events that its reader has not taken.
    unread: u32,
    reply: Reply,
}

impl Open {
    pub(super) fn witness(&self) -> Witness {
        let cleared = self.suspected && self.probation.is_none();
        Witness { fingerprint: self.fingerprint, tokens: self.tokens, cleared }
    }

    /// Ends it with an error.
    pub(super) fn fail(self, error: ModelError) {
        self.reply.fail(error);
    }

    /// Takes an event in on its way to the reader.
    fn pass(&mut self, event: Event) -> Result<(), String> {
        if let Event::Delta(delta) = &event {
            self.tokens += delta.tokens.len() as u64;
            self.has_output |= !delta.text.is_empty() || !delta.tokens.is_empty() || !delta.tool_calls.is_empty();
            if self.probation.as_ref().is_some_and(|probation| self.tokens > probation.tokens) {
                self.probation = None;
            }
        }
        self.unread += 1;
        let Reply::Stream { started: None, events } = &self.reply else {
            return Err("an event before its stream began".into());
        };
        match events.try_send(Ok(event)) {
            Err(mpsc::error::TrySendError::Full(_)) => Err("more events than were asked for".into()),
            // A reader that leaves cancels the call.
            _ => Ok(()),
        }
    }

    fn keeps_its_reader_waiting(&self) -> bool {
        // A reader says what it took by half windows.
        self.unread < WINDOW / 2
    }
}

/// What a call is made of.
pub(super) struct Opening {
    pub(super) call: Call,
    pub(super) fingerprint: Fingerprint,
    pub(super) probation: Option<Probation>,
    pub(super) reply: Reply,
}

/// The connection to one process. Whatever is said to it never waits.
pub(super) struct Link {
    outbox: Arc<Outbox>,
    calls: Mutex<Calls>,
    next: AtomicU64,
    load: Mutex<Load>,
    /// Something was heard since this was last asked.
    heard: AtomicBool,
    /// Moves whenever the engine got something done.
    progress: AtomicU64,
    suspects: Arc<Mutex<Suspects>>,
    pub(super) process: u32,
}

#[derive(Default)]
struct Calls {
    open: HashMap<CallId, Open>,
    closed: bool,
}

impl Link {
    pub(super) fn new(outbox: Arc<Outbox>, suspects: Arc<Mutex<Suspects>>, process: u32) -> Self {
        Self {
            outbox,
            calls: Mutex::default(),
            next: AtomicU64::new(0),
            load: Mutex::default(),
            heard: AtomicBool::new(true),
            progress: AtomicU64::new(0),
            suspects,
            process,
        }
    }

    /// Hands a call in. Dropping the ticket cancels it.
    ///
    /// # Errors
    /// [`ModelError::Unavailable`] if the process has just died, [`ModelError::Overloaded`] if it does not read.
    pub(super) fn open(self: &Arc<Self>, opening: Opening) -> Result<Ticket, ModelError> {
        let Opening { call, fingerprint, probation, reply } = opening;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let open = Open {
            request_id: call.request_id().map(str::to_owned),
            operation: call.name(),
            fingerprint,
            has_output: false,
            suspected: probation.is_some(),
            probation,
            tokens: 0,
            unread: 0,
            reply,
        };
        {
            let mut calls = self.calls.lock();
            if calls.closed {
                return Err(ModelError::unavailable("the engine is being restarted"));
            }
            calls.open.insert(id, open);
        }
        let ticket = Ticket { link: Arc::clone(self), id };
        let time = call.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match self.outbox.send(&Command::Run(Box::new(Run { id, time, call }))) {
            Ok(()) => Ok(ticket),
            Err(error @ SendError::Full(_)) => {
                Err(ModelError::Overloaded { reason: error.to_string(), retry_after: Duration::from_secs(1) })
            }
            Err(error @ SendError::Closed) => Err(ModelError::unavailable(error.to_string())),
            Err(error @ SendError::Message(_)) => Err(ModelError::Internal(error.to_string())),
        }
    }

    /// Takes in what the process says.
    ///
    /// # Errors
    /// It makes no sense.
    pub(super) fn take(&self, report: Report) -> Result<(), String> {
        self.heard.store(true, Ordering::Relaxed);
        match report {
            Report::Beat(load) => self.beat(load),
            Report::Started(id) => {
                self.step();
                self.change(id, |open| match &mut open.reply {
                    Reply::Stream { started, .. } => {
                        let started = started.take().ok_or("a stream began twice")?;
                        // A caller that left cancels the call.
                        drop(started.send(Ok(())));
                        Ok(())
                    }
                    Reply::Once(_) => Err("a stream that nobody asked for".into()),
                })?;
            }
            Report::Event(id, event @ Event::Finish(_)) => {
                self.step();
                if let Some(mut open) = self.remove(id) {
                    open.pass(event)?;
                    self.acquit(&open);
                }
            }
            Report::Event(id, event) => {
                self.step();
                self.change(id, |open| open.pass(event))?;
            }
            Report::Answer(id, answer) => {
                self.step();
                if let Some(open) = self.remove(id) {
                    self.acquit(&open);
                    match open.reply {
                        Reply::Once(reply) => drop(reply.send(Ok(answer))),
                        Reply::Stream { .. } => return Err("an answer instead of a stream".into()),
                    }
                }
            }
            Report::Failed(id, error) => {
                self.step();
                if let Some(open) = self.remove(id) {
                    self.acquit(&open);
                    open.fail(error);
                }
            }
            Report::Hello(_) | Report::Loading(_) | Report::Loaded(..) | Report::NotLoaded(_) => {
                return Err("it began again".into());
            }
        }
        Ok(())
    }

    /// Was anything heard since this was last asked?
    pub(super) fn was_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }

    /// Notes a sign of life.
    pub(super) fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// A number that moves as long as the engine gets things done; `None` while it has nothing to do, or waits for
    /// readers.
    pub(super) fn progress(&self) -> Option<u64> {
        let busy = self.calls.lock().open.values().any(Open::keeps_its_reader_waiting);
        busy.then(|| self.progress.load(Ordering::Relaxed))
    }

    /// How busy the engine is: what it said last, and what it can't know yet.
    pub(super) fn load(&self) -> Load {
        let mut load = *self.load.lock();
        let sent = self.calls.lock().open.values().filter(|open| takes_a_slot(open.operation)).count();
        let unseen = u32::try_from(sent).unwrap_or(u32::MAX).saturating_sub(load.in_flight());
        let seated = unseen.min(load.slots_free);
        load.slots_free -= seated;
        load.queued_requests += unseen - seated;
        load
    }

    /// The reader of a stream took so many events.
    fn credit(&self, id: CallId, events: u32) {
        if let Some(open) = self.calls.lock().open.get_mut(&id) {
            open.unread = open.unread.saturating_sub(events);
            // If it is full, the process does not read; its watch will notice.
            let _ = self.outbox.send(&Command::Credit(id, events));
        }
    }

    /// Nobody waits for this any more.
    fn cancel(&self, id: CallId) {
        if self.remove(id).is_some() {
            let _ = self.outbox.send(&Command::Cancel(id));
        }
    }

    /// Takes no more calls, and gives back those that are open.
    pub(super) fn close(&self) -> Vec<Open> {
        self.outbox.close();
        let mut calls = self.calls.lock();
        calls.closed = true;
        calls.open.drain().map(|(_, open)| open).collect()
    }

    /// Tells the process to end in good order.
    pub(super) fn stop(&self) {
        let _ = self.outbox.send(&Command::Stop);
    }

    fn beat(&self, load: Load) {
        let mut known = self.load.lock();
        if *known != load {
            *known = load;
            self.step();
        }
    }

    fn step(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    fn change(&self, id: CallId, change: impl FnOnce(&mut Open) -> Result<(), String>) -> Result<(), String> {
        // What was cancelled may have said something before it heard of that.
        self.calls.lock().open.get_mut(&id).map_or(Ok(()), change)
    }

    fn remove(&self, id: CallId) -> Option<Open> {
        self.calls.lock().open.remove(&id)
    }

    fn acquit(&self, open: &Open) {
        if open.suspected {
            self.suspects.lock().acquit(open.fingerprint);
        }
    }
}

/// A caller's hold on its call. Dropping it cancels the call, unless that has ended.
pub(super) struct Ticket {
    link: Arc<Link>,
    id: CallId,
}

impl Ticket {
    /// So many more events were taken.
    pub(super) fn credit(&self, events: u32) {
        self.link.credit(self.id, events);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.link.cancel(self.id);
    }
}

fn takes_a_slot(operation: &str) -> bool {
    matches!(operation, "generate" | "embed" | "rerank")
}
