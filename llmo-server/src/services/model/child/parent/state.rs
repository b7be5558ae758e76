//! What a model, its streams and its supervisor share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use llmo_core::ModelError;
use llmo_core::model::{Load, ModelInfo, Process};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::DropGuard;

use super::super::options::ChildOptions;
use super::super::protocol::Call;
use super::super::spec::Spec;
use super::death::Death;
use super::link::{Link, Probation};
use super::suspects::{Fingerprint, Inkpad, Standing, Suspects};

/// Most suspects that wait for their turn.
const MOST_WAITING: u32 = 256;

/// What a model, its streams and its supervisor share.
pub(super) struct State {
    pub(super) spec: Spec,
    pub(super) options: ChildOptions,
    pub(super) info: ModelInfo,
    pub(super) suspects: Arc<Mutex<Suspects>>,
    inkpad: Inkpad,
    phase: Mutex<Phase>,
    restarts: Mutex<BTreeMap<String, u64>>,
    /// What earlier processes counted.
    before: Mutex<Load>,
    /// Suspects take turns.
    turn: Arc<Semaphore>,
    waiting: AtomicU32,
}

enum Phase {
    Up(Arc<Link>),
    Down { why: String, until: Instant },
}

/// Keeps the process running for as long as anybody needs it.
pub(super) struct Keeper {
    pub(super) state: Arc<State>,
    pub(super) _stop: DropGuard,
}

impl State {
    pub(super) fn new(
        spec: Spec,
        options: ChildOptions,
        info: ModelInfo,
        link: Arc<Link>,
        suspects: Arc<Mutex<Suspects>>,
    ) -> Self {
        Self {
            spec,
            options,
            info,
            suspects,
            inkpad: Inkpad::default(),
            phase: Mutex::new(Phase::Up(link)),
            restarts: Mutex::default(),
            before: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: AtomicU32::new(0),
        }
    }

    /// The process answers again.
    pub(super) fn up(&self, link: Arc<Link>) {
        *self.phase.lock() = Phase::Up(link);
    }

    /// The process died; the next is started at `until`.
    pub(super) fn down(&self, why: String, until: Instant) {
        let before = std::mem::replace(&mut *self.phase.lock(), Phase::Down { why, until });
        if let Phase::Up(link) = before {
            add_counters(&mut self.before.lock(), &link.load());
        }
    }

    pub(super) fn count_restart(&self, death: &Death) {
        *self.restarts.lock().entry(death.reason().to_owned()).or_default() += 1;
    }

    /// The connection to the process, if one answers.
    pub(super) fn link(&self) -> Result<Arc<Link>, ModelError> {
        match &*self.phase.lock() {
            Phase::Up(link) => Ok(Arc::clone(link)),
            Phase::Down { why, until } => {
                let wait = until.saturating_duration_since(Instant::now());
                Err(ModelError::Unavailable { reason: why.clone(), retry_after: wait.max(Duration::from_secs(1)) })
            }
        }
    }

    /// May this call be made? A suspect waits until no other suspect is in the engine.
    pub(super) async fn admit(&self, call: &Call) -> Result<(Fingerprint, Option<Probation>), ModelError> {
        let fingerprint = self.inkpad.fingerprint(call);
        let mut turn = None;
        loop {
            let standing = self.suspects.lock().standing(fingerprint, Instant::now());
            match (standing, turn.take()) {
                (Standing::Clean, _) => return Ok((fingerprint, None)),
                (Standing::Refused(time), _) => return Err(crashed(time)),
                (Standing::Suspect { tokens }, Some(turn)) => {
                    return Ok((fingerprint, Some(Probation { _turn: turn, tokens })));
                }
                (Standing::Suspect { .. }, None) => {
                    let _counted = Counted::new(&self.waiting)?;
                    let waiting = Arc::clone(&self.turn).acquire_owned();
                    let permit = in_time(call.deadline(), "in the queue", waiting).await?;
                    turn = Some(permit.map_err(|_| ModelError::Shutdown)?);
                }
            }
        }
    }

    pub(super) fn load(&self) -> Load {
        let mut load = match &*self.phase.lock() {
            Phase::Up(link) => link.load(),
            Phase::Down { .. } => Load::default(),
        };
        load.queued_requests += self.waiting.load(Ordering::Relaxed);
        add_counters(&mut load, &self.before.lock());
        load
    }

    pub(super) fn process(&self) -> Process {
        let mut process = Process::default();
        match &*self.phase.lock() {
            Phase::Up(link) => process.id = Some(link.process),
            Phase::Down { why, .. } => process.down = Some(why.clone()),
        }
        process.restarts.clone_from(&self.restarts.lock());
        process
    }
}

/// The refusal of a request that was there at two deaths.
pub(super) fn crashed(time: Duration) -> ModelError {
    let minutes = time.as_secs().div_ceil(60);
    ModelError::Crashed {
        message: format!(
            "the engine died twice while it worked on this request, the second time on no other suspect: it is refused \
             for {minutes} minutes; change the request"
        ),
    }
}

/// Waits, but no longer than until shortly after the deadline: by then the engine should have said so itself.
pub(super) async fn in_time<T>(
    deadline: Option<Instant>,
    stage: &str,
    work: impl Future<Output = T>,
) -> Result<T, ModelError> {
    const GRACE: Duration = Duration::from_millis(250);
    let Some(end) = deadline.and_then(|deadline| deadline.checked_add(GRACE)) else { return Ok(work.await) };
    let late = |_| ModelError::DeadlineExceeded { stage: stage.to_owned() };
    tokio::time::timeout_at(end.into(), work).await.map_err(late)
}

/// Adds what only ever grows.
fn add_counters(load: &mut Load, more: &Load) {
    load.prefix_query_tokens += more.prefix_query_tokens;
    load.prefix_hit_tokens += more.prefix_hit_tokens;
    load.prefill_tokens += more.prefill_tokens;
    load.decode_tokens += more.decode_tokens;
    load.draft_tokens += more.draft_tokens;
    load.draft_accepted_tokens += more.draft_accepted_tokens;
}

/// A place among those who wait.
struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(waiting: &'a AtomicU32) -> Result<Self, ModelError> {
        if waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING {
            return Ok(Self(waiting));
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
        Err(ModelError::Overloaded {
            reason: "too many requests that were there when the engine died wait for their turn".to_owned(),
            retry_after: Duration::from_secs(5),
        })
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
