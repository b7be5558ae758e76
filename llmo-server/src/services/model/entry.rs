//! One model that can be asked for, and how far it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use llmo_config::AdapterConfig;
use llmo_core::model::{KeepAlive, Load, LoadProgress, Residence, ResidenceState};
use llmo_core::{Model, ModelError, ModelInfo};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::budget::{Need, Tenant};

/// Where a model's weights come from.
#[derive(Clone)]
pub(super) enum Source {
    /// The store of this machine, or whatever it can be fetched from.
    Store,
    /// A file (`MODEL_PATH`).
    File(PathBuf),
    /// Those of another model, with an adapter over them.
    Adapter { base: Arc<Entry>, adapter: AdapterConfig },
}

/// A model that can be asked for.
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) source: Source,
    /// Loaded at the start and never unloaded.
    pub(super) pinned: bool,
    /// Tells one installation under this name from the next.
    pub(super) version: u64,
    /// What is known of it: by its header, and by its engine once it was loaded.
    pub(super) info: RwLock<Option<ModelInfo>>,
    /// What it takes, once that is known.
    pub(super) need: Mutex<Option<Need>>,
    pub(super) state: Mutex<State>,
    /// A load came to its end.
    pub(super) settled: Notify,
}

/// How far a model is.
pub(super) enum State {
    /// Not in memory.
    Absent(Option<Failure>),
    /// On its way there.
    Loading(Loading),
    /// It answers.
    Ready(Resident),
}

/// A load that failed.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) error: ModelError,
    /// Which attempt it was.
    pub(super) attempt: u64,
    /// Until then nobody tries again.
    pub(super) until: Instant,
    /// It may pass.
    pub(super) again: bool,
}

/// A load that goes on.
pub(super) struct Loading {
    pub(super) attempt: u64,
    /// What is being done, for people.
    pub(super) doing: String,
    /// The same, for programs, and how far that is.
    pub(super) progress: LoadProgress,
    /// When it will probably be over.
    pub(super) ends: Option<Instant>,
    /// Requests that wait for it.
    pub(super) waiting: usize,
    /// Its place in memory is taken from then on.
    pub(super) reserved: Option<Need>,
    pub(super) since: Instant,
}

/// A model in memory.
pub(super) struct Resident {
    pub(super) model: Arc<dyn Model>,
    pub(super) need: Need,
    pub(super) users: u32,
    pub(super) loaded_at: Instant,
    /// How long loading took.
    pub(super) loaded_in: Duration,
    pub(super) used_at: Instant,
    pub(super) keep_alive: KeepAlive,
    /// It goes as soon as nobody uses it, and nobody new may.
    pub(super) leaving: bool,
}

impl Loading {
    /// What is being done, and how far that is.
    pub(super) fn told(&self) -> String {
        match self.progress.percent {
            Some(percent) => format!("{}, {percent} %", self.doing),
            None => self.doing.clone(),
        }
    }
}

impl Resident {
    /// When it goes, if nobody uses it any more.
    fn expires(&self) -> Option<Instant> {
        match self.keep_alive {
            KeepAlive::For(time) => self.used_at.checked_add(time),
            KeepAlive::Forever => None,
        }
    }
}

impl Entry {
    pub(super) fn new(id: impl Into<String>, source: Source, pinned: bool, version: u64) -> Self {
        Self {
            id: id.into(),
            source,
            pinned,
            version,
            info: RwLock::new(None),
            need: Mutex::new(None),
            state: Mutex::new(State::Absent(None)),
            settled: Notify::new(),
        }
    }

    /// What is known of it.
    pub(super) fn info(&self) -> ModelInfo {
        self.info.read().clone().unwrap_or_else(|| ModelInfo::new(&self.id, "unknown"))
    }

    /// Says what the load that goes on is doing.
    pub(super) fn doing(&self, what: impl Into<String>, progress: LoadProgress) {
        if let State::Loading(loading) = &mut *self.state.lock() {
            (loading.doing, loading.progress) = (what.into(), progress);
        }
    }

    /// Says how much is done of what it is doing.
    pub(super) fn done(&self, done: u64, total: u64) {
        if let State::Loading(loading) = &mut *self.state.lock() {
            loading.progress = loading.progress.of(done, total);
        }
    }

    /// Why it can't be asked right now, if so.
    pub(super) fn missing(&self) -> Option<String> {
        match &*self.state.lock() {
            // In a process of its own it may be down for a while.
            State::Ready(resident) => resident.model.process()?.down.map(|why| format!("{}: {why}", self.id)),
            State::Loading(loading) => Some(format!("{}: {}", self.id, loading.told())),
            State::Absent(Some(failure)) => Some(format!("{}: {}", self.id, failure.error)),
            State::Absent(None) => Some(format!("{}: waiting for its turn", self.id)),
        }
    }

    /// Is it not in memory because its last load failed, and not for a lack of room?
    pub(super) fn load_failed(&self) -> bool {
        match &*self.state.lock() {
            State::Absent(Some(failure)) => !matches!(failure.error, ModelError::Overloaded { .. }),
            _ => false,
        }
    }

    /// The engine, if it is in memory.
    pub(super) fn resident(&self) -> Option<Arc<dyn Model>> {
        match &*self.state.lock() {
            State::Ready(resident) => Some(Arc::clone(&resident.model)),
            _ => None,
        }
    }

    /// Its place in memory, for who plans. `None` if it takes none.
    pub(super) fn tenant(&self) -> Option<Tenant> {
        match &*self.state.lock() {
            State::Absent(_) => None,
            State::Loading(loading) => loading.reserved.clone().map(|need| Tenant {
                id: self.id.clone(),
                need,
                pinned: self.pinned,
                busy: true,
                loaded_at: loading.since,
                used_at: loading.since,
            }),
            State::Ready(resident) => Some(Tenant {
                id: self.id.clone(),
                need: resident.need.clone(),
                pinned: self.pinned,
                busy: resident.users > 0,
                loaded_at: resident.loaded_at,
                used_at: resident.used_at,
            }),
        }
    }

    /// Takes it out of memory, unless somebody uses it. Dropping what this gives frees the memory, and may block.
    pub(super) fn take(&self) -> Option<Arc<dyn Model>> {
        let mut state = self.state.lock();
        match &*state {
            State::Ready(resident) if resident.users == 0 && !self.pinned => {
                match std::mem::replace(&mut *state, State::Absent(None)) {
                    State::Ready(resident) => Some(resident.model),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Must it go now? Otherwise when, as far as that can be told.
    pub(super) fn due(&self, now: Instant) -> Due {
        match &*self.state.lock() {
            State::Ready(resident) if !self.pinned && resident.users == 0 => {
                match (resident.leaving, resident.expires()) {
                    (true, _) => Due::Now,
                    (false, Some(at)) if at <= now => Due::Now,
                    (false, Some(at)) => Due::At(at),
                    (false, None) => Due::Never,
                }
            }
            _ => Due::Never,
        }
    }

    /// How busy it is, and whether it is in memory.
    pub(super) fn load(&self, now: Instant) -> Load {
        let need = self.need.lock().as_ref().map_or(0, Need::total);
        let state = self.state.lock();
        let (mut load, mut residence) = match &*state {
            State::Absent(_) => (Load::idle(1), Residence::new(ResidenceState::Absent, need)),
            State::Loading(loading) => {
                let mut load = Load::idle(1);
                load.queued_requests = u32::try_from(loading.waiting).unwrap_or(u32::MAX);
                let mut residence = Residence::new(ResidenceState::Loading, need);
                residence.progress = Some(loading.progress);
                (load, residence)
            }
            State::Ready(resident) => {
                let mut residence = Residence::new(ResidenceState::Loaded, resident.need.total());
                residence.expires_at = resident.expires().filter(|_| !self.pinned).map(|at| unix_seconds(at, now));
                residence.loaded_in = Some(resident.loaded_in);
                (resident.model.load(), residence)
            }
        };
        residence.pinned = self.pinned;
        load.residence = Some(residence);
        load
    }
}

/// When a model has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    At(Instant),
    Never,
}

fn unix_seconds(at: Instant, now: Instant) -> u64 {
    let wall = SystemTime::now().checked_add(at.saturating_duration_since(now)).unwrap_or(SystemTime::now());
    wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
