//! The gate before one model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_core::model::{ModelError, Result};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{AdmissionOptions, DrainRate, FairQueue, Gradient, Place, Places, Pushed};

/// Where the limit begins while nobody says how many slots there are.
const FIRST_LIMIT: usize = 20;
/// It does not go below this then.
const LOWEST_LIMIT: usize = 4;
/// What refused callers are told to wait at least and at most.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(60);

/// What wants to begin.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// The larger, the sooner, among requests of one tenant.
    pub priority: i8,
    /// What it costs, in tokens.
    pub work: u64,
    /// Nobody waits longer.
    pub deadline: Option<Instant>,
}

/// Lets so many requests run at once, and the others wait in a [`FairQueue`]. Those that can't be served in time are refused
/// at once.
///
/// Where replicas tell how many slots they have, that and an eighth more is the limit: enough that no slot waits for a round
/// trip, and so little that requests wait here, where they can still go to another replica and where tenants take turns. Where they don't, a
/// [`Gradient`] finds it. Tenants that compete leave some [`Places`] to who has had less than its share.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    options: AdmissionOptions,
}

#[derive(Debug)]
struct State {
    queue: FairQueue<Waiter>,
    running: usize,
    limit: Gradient,
    places: Places,
    rate: DrainRate,
}

/// A place among those that run, or why there is none.
type Answer = Result<Permit>;

#[derive(Debug)]
struct Waiter(oneshot::Sender<Answer>);

/// How a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateState {
    /// Requests that run.
    pub running: usize,
    /// Requests that wait.
    pub queued: usize,
    /// How many may run at once.
    pub limit: usize,
}

impl Gate {
    /// Open, with nobody waiting.
    #[must_use]
    pub fn new(options: AdmissionOptions) -> Arc<Self> {
        let state = State {
            queue: FairQueue::new(options.queued, options.weights.clone()),
            running: 0,
            limit: Gradient::new(FIRST_LIMIT, LOWEST_LIMIT.min(options.running), options.running),
            places: Places::default(),
            rate: DrainRate::default(),
        };
        Arc::new(Self { state: Mutex::new(state), options })
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> GateState {
        let state = self.state.lock();
        GateState { running: state.running, queued: state.queue.len(), limit: state.limit.limit() }
    }

    /// Takes in how many slots there are; 0: unknown.
    pub fn slots(self: &Arc<Self>, slots: u32) {
        let (slots, most) = (slots as usize, self.options.running);
        let mut state = self.state.lock();
        state.places.slots(Some(slots).filter(|slots| *slots > 0));
        match slots {
            0 => state.limit.bound(LOWEST_LIMIT.min(most), most),
            _ => state.limit.bound(slots.min(most), (slots + slots / 8 + 1).min(most)),
        }
        let admitted = self.admit(&mut state, Instant::now());
        drop(state);
        deliver(admitted);
    }

    /// Waits for a place among those that run. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`ModelError::Overloaded`] at once if the queue is full, or if the wait would be longer than the deadline or the
    /// options allow; later if one of another tenant takes the place. [`ModelError::DeadlineExceeded`] if the deadline
    /// passed in the queue.
    pub async fn enter(self: &Arc<Self>, request: Request<'_>) -> Result<Permit> {
        let now = Instant::now();
        let (waiting, answer) = {
            let mut state = self.state.lock();
            if state.may_enter(request.tenant, now) {
                state.queue.charge(request.tenant, request.work);
                return Ok(self.permit());
            }
            let (wait, wait_allowed) = (state.wait(&request), self.allowed(&request, now));
            if wait.is_some_and(|wait| wait > wait_allowed) {
                return Err(self.refusal(&state, "the wait would be too long", wait));
            }
            let (sender, answer) = oneshot::channel();
            let waiter = Waiter(sender);
            let (place, displaced) = match state.queue.push(request.tenant, request.priority, request.work, waiter) {
                Pushed::Full(_) => return Err(self.refusal(&state, "the queue is full", wait)),
                Pushed::Waits(place) => (place, None),
                Pushed::Instead(place, displaced) => (place, Some(displaced)),
            };
            state.rate.busy(now);
            if let Some(Waiter(sender)) = displaced {
                let error = self.refusal(&state, "the queue is full, and others have less in it", wait);
                // Who has left already needs no answer.
                let _ = sender.send(Err(error));
            }
            (Waiting { gate: Arc::clone(self), place: Some(place) }, answer)
        };
        self.wait(waiting, answer, &request, now).await
    }

    async fn wait(
        self: &Arc<Self>,
        mut waiting: Waiting,
        answer: oneshot::Receiver<Answer>,
        request: &Request<'_>,
        since: Instant,
    ) -> Result<Permit> {
        match tokio::time::timeout(self.allowed(request, since), answer).await {
            Ok(answer) => {
                waiting.place = None;
                // Every waiter is answered before its sender goes.
                answer.unwrap_or(Err(ModelError::Shutdown))
            }
            Err(_) if request.deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                Err(ModelError::DeadlineExceeded { stage: "in the queue".into() })
            }
            Err(_) => {
                let state = self.state.lock();
                Err(self.refusal(&state, "no turn came in time", None))
            }
        }
    }

    fn allowed(&self, request: &Request<'_>, now: Instant) -> Duration {
        let patience = request.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
        patience.min(self.options.longest_wait)
    }

    fn refusal(&self, state: &State, why: &str, wait: Option<Duration>) -> ModelError {
        let (running, queued) = (state.running, state.queue.len());
        ModelError::Overloaded {
            reason: format!("{why}: {running} requests run and {queued} wait"),
            retry_after: wait.unwrap_or(SOONEST).clamp(SOONEST, LATEST),
        }
    }

    fn permit(self: &Arc<Self>) -> Permit {
        Permit { gate: Arc::clone(self) }
    }

    /// Lets in as many as there is room for. Their answers are delivered once the lock is free: a waiter that is gone
    /// gives its place back, which needs the lock.
    fn admit(self: &Arc<Self>, state: &mut State, now: Instant) -> Vec<(Waiter, Permit)> {
        let mut admitted = Vec::new();
        while let Some((work, waiter)) = state.next(now) {
            state.rate.moved(work, now);
            admitted.push((waiter, self.permit()));
        }
        if state.queue.is_empty() {
            state.rate.idle();
        }
        admitted
    }

    fn leave(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
        let admitted = self.admit(&mut state, Instant::now());
        drop(state);
        deliver(admitted);
    }
}

impl State {
    /// Takes a place for a new request of this tenant, if there is one for it and nobody waits who goes before it.
    fn may_enter(&mut self, tenant: &str, now: Instant) -> bool {
        let below = self.queue.is_behind(tenant);
        let first = self.queue.is_empty() || (below && !self.queue.next_is_behind());
        first && self.take_place(below, now)
    }

    /// The next that waits and has a place now.
    fn next(&mut self, now: Instant) -> Option<(u64, Waiter)> {
        if self.queue.is_empty() || !self.take_place(self.queue.next_is_behind(), now) {
            return None;
        }
        self.queue.pop()
    }

    fn take_place(&mut self, below_its_share: bool, now: Instant) -> bool {
        let room = self.running < self.places.room(self.limit.limit(), below_its_share, now);
        if room {
            self.running += 1;
            if below_its_share {
                self.places.seen_below(now);
            }
        }
        room
    }

    /// How long a new request would wait, as far as is known.
    fn wait(&self, request: &Request<'_>) -> Option<Duration> {
        self.rate.time_for(self.queue.ahead(request.tenant, request.work))
    }
}

fn deliver(admitted: Vec<(Waiter, Permit)>) {
    for (Waiter(sender), permit) in admitted {
        // Who left in this moment does not take the permit; dropping it lets the next one in.
        drop(sender.send(Ok(permit)));
    }
}

/// A place among those that run; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
}

impl Permit {
    /// The first token came after so long.
    pub fn began(&self, wait: Duration) {
        let mut state = self.gate.state.lock();
        let running = state.running;
        state.limit.sample(wait, running);
    }

    /// An upstream had too much to do.
    pub fn refused(&self) {
        self.gate.state.lock().limit.refused();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.leave();
    }
}

/// A request in the queue; leaves it when dropped.
struct Waiting {
    gate: Arc<Gate>,
    place: Option<Place>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            let mut state = self.gate.state.lock();
            state.queue.remove(&place);
            if state.queue.is_empty() {
                state.rate.idle();
            }
        }
    }
}

#[cfg(test)]
mod tests;
