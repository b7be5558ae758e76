//! Models that come and go: who is in memory, who is loaded, who has to leave.
//!
//! ```text
//!  request ─► acquire ─┬─ Ready ─────────────────────────────► Lease ─► (dropped) ─► keep-alive begins
//!                      └─ Absent ─► one load for all who ask ─┘                          │
//!                           prepare (fetch, verify, measure) ─► make room ─► engine      ▼
//!                                                                  └ unload the least recently used
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use llmo_config::ModelConfig;
use llmo_core::model::{KeepAlive, LoadProgress, LoadStep, Result};
use llmo_core::{Model, ModelError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::budget::{self, Need, Plan};
use super::entry::{Due, Entry, Failure, Loading, Resident, State};
use super::loader::{Failed, Loader};
use super::memory;
use super::terms::{Made, OnProgress};

/// Nobody tries again this soon after a failure that may pass: weights that could not be had.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// … after one that won't: damaged weights.
const LASTING: Duration = Duration::from_secs(60);
/// … and after one that only said that there is no room.
const NO_ROOM: Duration = Duration::from_millis(100);

/// All models that can be asked for.
pub(super) struct Shelf {
    pub(super) loader: Loader,
    entries: RwLock<BTreeMap<String, Arc<Entry>>>,
    /// Models whose name belongs to somebody else by now, or to nobody, and that still have work.
    pub(super) leaving: Mutex<Vec<Arc<Entry>>>,
    /// Held while room is planned and reserved.
    planning: Mutex<()>,
    /// Engines are made one after the other.
    making: tokio::sync::Mutex<()>,
    pub(super) attempts: AtomicU64,
    /// Loads that failed for another reason than a lack of room.
    pub(super) load_failures: AtomicU64,
    /// Bytes that were loaded in a second, the last time; 0: not known yet.
    speed: AtomicU64,
    /// Somebody has ended their use of a model.
    pub(super) released: Notify,
    pub(super) settings: Settings,
}

/// What the configuration says about coming and going.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) budget: u64,
    pub(super) hold: Duration,
    pub(super) wait: Duration,
    pub(super) keep_alive: KeepAlive,
    pub(super) max_waiting: usize,
}

impl Settings {
    pub(super) fn of(config: &ModelConfig) -> Self {
        /// A day: what is longer was not meant.
        const LONGEST: u64 = 86_400;
        let keep_alive = u64::try_from(config.keep_alive_seconds)
            .map_or(KeepAlive::Forever, |seconds| KeepAlive::For(Duration::from_secs(seconds)));
        Self {
            budget: memory::budget(config),
            hold: Duration::from_secs(config.min_resident_seconds.min(LONGEST)),
            wait: Duration::from_secs(config.load_wait_seconds.min(LONGEST)),
            keep_alive,
            max_waiting: config.max_queued.max(1),
        }
    }
}

/// The use of a model: as long as it lives the model stays.
pub(super) struct Lease {
    shelf: Arc<Shelf>,
    entry: Arc<Entry>,
    pub(super) model: Arc<dyn Model>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let State::Ready(resident) = &mut *self.entry.state.lock() {
            resident.users = resident.users.saturating_sub(1);
            resident.used_at = Instant::now();
            if resident.users > 0 {
                return;
            }
        }
        // Who waits for room, and the janitor.
        self.shelf.released.notify_waiters();
    }
}

impl Shelf {
    pub(super) fn new(loader: Loader, settings: Settings) -> Arc<Self> {
        tracing::debug!(budget = memory::told(settings.budget), "memory for models");
        let shelf = Arc::new(Self {
            loader,
            entries: RwLock::default(),
            leaving: Mutex::default(),
            planning: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            attempts: AtomicU64::new(1),
            load_failures: AtomicU64::new(0),
            speed: AtomicU64::new(0),
            released: Notify::new(),
            settings,
        });
        tokio::spawn(janitor(Arc::downgrade(&shelf)));
        shelf
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Entry>> {
        self.entries.read().get(id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.entries.read().values().cloned().collect()
    }

    /// The model of this name and version: the one that is there, or `make`'s. One of another version leaves.
    pub(super) fn get_or_insert(&self, id: &str, version: u64, make: impl FnOnce() -> Entry) -> Arc<Entry> {
        // What was fetched on demand has no version: it is whatever came.
        let same = |known: &Entry| known.pinned || known.version == version || known.version == 0;
        if let Some(known) = self.get(id).filter(|known| same(known)) {
            return known;
        }
        let mut entries = self.entries.write();
        match entries.get(id) {
            Some(known) if same(known) => Arc::clone(known),
            _ => {
                let entry = Arc::new(make());
                if let Some(before) = entries.insert(id.to_owned(), Arc::clone(&entry)) {
                    self.let_go(before);
                }
                entry
            }
        }
    }

    /// Forgets all models that `stays` says no to. Those that have work leave when it is done.
    pub(super) fn retain(&self, stays: impl Fn(&Entry) -> bool) {
        let gone: Vec<Arc<Entry>> = {
            let mut entries = self.entries.write();
            let gone: Vec<String> = entries.values().filter(|entry| !stays(entry)).map(|e| e.id.clone()).collect();
            gone.iter().filter_map(|id| entries.remove(id)).collect()
        };
        gone.into_iter().for_each(|entry| self.let_go(entry));
    }

    fn let_go(&self, entry: Arc<Entry>) {
        if let State::Ready(resident) = &mut *entry.state.lock() {
            resident.leaving = true;
        }
        self.leaving.lock().push(entry);
        self.released.notify_waiters();
    }

    /// The model, for one use; it is loaded first if it has to be. Who asks meanwhile shares the load. Waits until
    /// `deadline`, and not longer than the configuration says.
    ///
    /// # Errors
    /// Those of loading; [`ModelError::Overloaded`] if it will take longer than anybody waits, if there is no room now, or
    /// if too many wait already. (Not `Unavailable`: a router would take the whole service for broken.)
    pub(super) async fn acquire(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        deadline: Option<Instant>,
        keep_alive: Option<KeepAlive>,
    ) -> Result<Lease> {
        let patience = Instant::now() + self.settings.wait;
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        let mut joined = None;
        loop {
            let settled = entry.settled.notified();
            tokio::pin!(settled);
            // From here on no end of a load is missed.
            settled.as_mut().enable();
            if let Some(lease) = self.look(entry, until, keep_alive, &mut joined)? {
                return Ok(lease);
            }
            let outcome = tokio::time::timeout_at(until.into(), settled).await;
            if let State::Loading(loading) = &mut *entry.state.lock() {
                loading.waiting = loading.waiting.saturating_sub(1);
            }
            if outcome.is_err() {
                return Err(match deadline {
                    Some(deadline) if deadline <= patience => {
                        ModelError::DeadlineExceeded { stage: "while the model was being loaded".into() }
                    }
                    _ => still_loading(entry, Duration::from_secs(5)),
                });
            }
        }
    }

    /// Loads a pinned model and waits for its end, however long that takes. True if it failed and is worth another try.
    pub(super) async fn acquire_pinned(self: &Arc<Self>, entry: &Arc<Entry>) -> bool {
        {
            let mut state = entry.state.lock();
            if matches!(&*state, State::Absent(_)) {
                self.begin(entry, &mut state, None);
            }
        }
        loop {
            let settled = entry.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            match &*entry.state.lock() {
                State::Ready(_) => return false,
                State::Absent(failure) => return failure.as_ref().is_some_and(|failure| failure.again),
                State::Loading(_) => {}
            }
            settled.await;
        }
    }

    /// A lease if the model is there, an error if it can't be had, and `None` if waiting is worth while.
    fn look(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        until: Instant,
        keep_alive: Option<KeepAlive>,
        joined: &mut Option<u64>,
    ) -> Result<Option<Lease>> {
        let now = Instant::now();
        let mut state = entry.state.lock();
        match &mut *state {
            State::Ready(resident) => {
                resident.users += 1;
                resident.used_at = now;
                resident.keep_alive = keep_alive.unwrap_or(resident.keep_alive);
                let model = Arc::clone(&resident.model);
                Ok(Some(Lease { shelf: Arc::clone(self), entry: Arc::clone(entry), model }))
            }
            State::Absent(Some(failure)) if *joined == Some(failure.attempt) || failure.until > now => {
                Err(failure.told(now))
            }
            State::Absent(_) => {
                let attempt = self.begin(entry, &mut state, keep_alive);
                *joined = Some(attempt);
                self.wait(entry, &mut state, until, now)
            }
            State::Loading(loading) => {
                *joined = Some(loading.attempt);
                self.wait(entry, &mut state, until, now)
            }
        }
    }

    fn wait(&self, entry: &Entry, state: &mut State, until: Instant, now: Instant) -> Result<Option<Lease>> {
        let State::Loading(loading) = state else { return Ok(None) };
        if loading.waiting >= self.settings.max_waiting {
            let reason = format!("{} requests wait for {:?} to be loaded", loading.waiting, entry.id);
            return Err(ModelError::Overloaded { reason, retry_after: Duration::from_secs(2) });
        }
        if let Some(ends) = loading.ends.filter(|ends| *ends > until) {
            let retry_after = ends.saturating_duration_since(now).max(Duration::from_secs(1));
            let reason = format!("the model {:?} is being loaded ({})", entry.id, loading.told());
            return Err(ModelError::Overloaded { reason, retry_after });
        }
        loading.waiting += 1;
        Ok(None)
    }

    /// Begins a load. It goes on whoever gives up waiting for it.
    fn begin(self: &Arc<Self>, entry: &Arc<Entry>, state: &mut State, keep_alive: Option<KeepAlive>) -> u64 {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let since = Instant::now();
        let bytes = entry.need.lock().as_ref().map(Need::total);
        let ends = bytes.and_then(|bytes| self.expected(bytes)).map(|takes| since + takes);
        let (doing, progress) = ("waiting for its turn".to_owned(), LoadProgress::new(LoadStep::Waiting));
        *state = State::Loading(Loading { attempt, doing, progress, ends, waiting: 0, reserved: None, since });
        let (shelf, entry) = (Arc::clone(self), Arc::clone(entry));
        tokio::spawn(async move { shelf.run(entry, attempt, keep_alive).await });
        attempt
    }

    fn expected(&self, bytes: u64) -> Option<Duration> {
        let speed = self.speed.load(Ordering::Relaxed);
        (speed > 0).then(|| Duration::from_secs_f64(bytes as f64 / speed as f64))
    }

    async fn run(self: Arc<Self>, entry: Arc<Entry>, attempt: u64, keep_alive: Option<KeepAlive>) {
        let started = Instant::now();
        match self.load(&entry).await {
            Ok((model, need)) => {
                let took = started.elapsed();
                tracing::info!(model = entry.id, seconds = took.as_secs_f32(), bytes = need.total(), "loaded");
                *entry.info.write() = Some(model.info().clone());
                let now = Instant::now();
                *entry.state.lock() = State::Ready(Resident {
                    model,
                    need,
                    users: 0,
                    loaded_at: now,
                    loaded_in: took,
                    used_at: now,
                    keep_alive: keep_alive.unwrap_or(self.settings.keep_alive),
                    leaving: self.get(&entry.id).is_none_or(|known| !Arc::ptr_eq(&known, &entry)),
                });
            }
            Err(Failed { error, again, room }) => {
                if room {
                    tracing::info!(model = entry.id, %error, "no room");
                } else {
                    tracing::error!(model = entry.id, %error, again, "not loaded");
                    self.load_failures.fetch_add(1, Ordering::Relaxed);
                }
                let pause = match (room, again) {
                    (true, _) => NO_ROOM,
                    (false, true) => TRY_AGAIN,
                    (false, false) => LASTING,
                };
                let failure = Failure { error, attempt, until: Instant::now() + pause, again };
                *entry.state.lock() = State::Absent(Some(failure));
            }
        }
        entry.settled.notify_waiters();
        self.released.notify_waiters();
    }

    async fn load(&self, entry: &Arc<Entry>) -> Result<(Arc<dyn Model>, Need), Failed> {
        let mut prepared = self.loader.prepare(entry, self.room(entry)).await?;
        let need = prepared.need.clone();
        *entry.need.lock() = Some(need.clone());
        self.make_room(entry, &need).await?;
        entry.doing("waiting for another model's engine", LoadProgress::new(LoadStep::Waiting));
        let _turn = self.making.lock().await;
        entry.doing("loading", LoadProgress::new(LoadStep::Loading));
        prepared.terms.beside_others = self.has_others(entry);
        let started = Instant::now();
        if let State::Loading(loading) = &mut *entry.state.lock() {
            loading.ends = self.expected(need.total()).map(|takes| started + takes);
        }
        let Made { model, outcome } = prepared.load(watch(entry)).await?;
        let seconds = started.elapsed().as_secs_f64().max(1e-3);
        self.speed.store((need.total() as f64 / seconds) as u64, Ordering::Relaxed);
        // From here on what the engine says counts.
        let takes = outcome.need.unwrap_or_else(|| need.clone());
        if takes.total() > need.total() {
            let (planned, takes) = (memory::told(need.total()), memory::told(takes.total()));
            tracing::info!(model = entry.id, planned, takes, "it takes more than was planned");
        }
        *entry.need.lock() = Some(takes.clone());
        Ok((model, takes))
    }

    /// Bytes that a model may take: what those leave that never go.
    fn room(&self, entry: &Arc<Entry>) -> u64 {
        let others = self.here().into_iter().filter(|other| !Arc::ptr_eq(other, entry));
        let pinned: Vec<Need> = others
            .filter_map(|other| other.tenant())
            .filter(|tenant| tenant.pinned)
            .map(|tenant| tenant.need)
            .collect();
        self.settings.budget.saturating_sub(budget::taken(pinned.iter()))
    }

    /// Is another model in memory? Engines come one after the other, so none is on its way.
    fn has_others(&self, entry: &Arc<Entry>) -> bool {
        self.here().iter().any(|other| !Arc::ptr_eq(other, entry) && other.resident().is_some())
    }

    /// Makes room and reserves it. A pinned model takes its place whatever the budget says.
    async fn make_room(&self, entry: &Entry, need: &Need) -> Result<(), Failed> {
        let until = Instant::now() + self.settings.wait;
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            let (victims, plan) = {
                let _one_at_a_time = self.planning.lock();
                let plan = self.plan(need);
                let settled = matches!(plan, Plan::Fits) || (entry.pinned && !matches!(plan, Plan::Evict(_)));
                if settled {
                    if plan != Plan::Fits {
                        let (need, budget) = (memory::told(need.total()), memory::told(self.settings.budget));
                        tracing::warn!(model = entry.id, need, budget, "more than model.memory_budget_mb allows");
                    }
                    if let State::Loading(loading) = &mut *entry.state.lock() {
                        loading.reserved = Some(need.clone());
                    }
                    return Ok(());
                }
                let victims = match &plan {
                    Plan::Evict(ids) => self.here().into_iter().filter(|e| ids.contains(&e.id)).collect(),
                    _ => Vec::new(),
                };
                (victims, plan)
            };
            match plan {
                Plan::Held(wait) => return Err(self.no_room(entry, need, wait)),
                Plan::Never { available } => return Err(self.never(entry, need, available)),
                Plan::Busy => {
                    entry.doing("waiting until other models have no work", LoadProgress::new(LoadStep::Waiting));
                    if tokio::time::timeout_at(until.into(), released).await.is_err() {
                        return Err(self.no_room(entry, need, Duration::from_secs(5)));
                    }
                }
                Plan::Evict(_) | Plan::Fits => unload(victims, &format!("room for {:?}", entry.id)).await,
            }
        }
    }

    fn plan(&self, need: &Need) -> Plan {
        let tenants: Vec<_> = self.here().iter().filter_map(|entry| entry.tenant()).collect();
        budget::plan(&tenants, need, self.settings.budget, self.settings.hold, Instant::now())
    }

    /// All that may be in memory.
    fn here(&self) -> Vec<Arc<Entry>> {
        self.all().into_iter().chain(self.leaving.lock().iter().cloned()).collect()
    }

    fn no_room(&self, entry: &Entry, need: &Need, retry_after: Duration) -> Failed {
        let (need, budget) = (memory::told(need.total()), memory::told(self.settings.budget));
        let reason = format!(
            "there is no room for the model {:?} now: it needs {need} of {budget}, and other models are in use or were \
             loaded a moment ago",
            entry.id
        );
        Failed { error: ModelError::Overloaded { reason, retry_after }, again: true, room: true }
    }

    fn never(&self, entry: &Entry, need: &Need, available: u64) -> Failed {
        let (need, available) = (memory::told(need.total()), memory::told(available));
        let what = format!(
            "being loaded on this machine: it needs about {need}, and {available} can be had for it; allow more \
             (model.memory_budget_mb), or make it smaller (model.context_length, model.slots, model.kv_type = \"q8_0\")"
        );
        Failed { error: ModelError::Unsupported { model: entry.id.clone(), what }, again: false, room: false }
    }

    /// Takes a model out of memory as soon as nobody uses it.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a pinned one.
    pub(super) async fn unload(&self, entry: &Arc<Entry>) -> Result<()> {
        if entry.pinned {
            let what = "being unloaded: it is one of the models that are always there (model.names)".to_owned();
            return Err(ModelError::Unsupported { model: entry.id.clone(), what });
        }
        if let State::Ready(resident) = &mut *entry.state.lock() {
            resident.keep_alive = KeepAlive::NOT_AT_ALL;
        }
        unload(vec![Arc::clone(entry)], "it was told to go").await;
        Ok(())
    }

    /// Unloads what is due, and tells when to look again.
    async fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let (mut due, mut next) = (Vec::new(), None);
        for entry in self.here() {
            match entry.due(now) {
                Due::Now => due.push(entry),
                Due::At(at) => next = Some(next.map_or(at, |next: Instant| next.min(at))),
                Due::Never => {}
            }
        }
        if !due.is_empty() {
            unload(due, "nobody used it").await;
            self.released.notify_waiters();
        }
        self.leaving.lock().retain(|entry| !matches!(&*entry.state.lock(), State::Absent(_)));
        next
    }
}

impl Failure {
    /// The error, with the time after which trying again makes sense.
    fn told(&self, now: Instant) -> ModelError {
        match &self.error {
            ModelError::Unavailable { reason, retry_after } => ModelError::Unavailable {
                reason: reason.clone(),
                retry_after: (*retry_after).max(self.until.saturating_duration_since(now)),
            },
            other => other.clone(),
        }
    }
}

fn still_loading(entry: &Entry, retry_after: Duration) -> ModelError {
    let doing = match &*entry.state.lock() {
        State::Loading(loading) => loading.told(),
        _ => "almost there".to_owned(),
    };
    ModelError::Overloaded { reason: format!("the model {:?} is being loaded ({doing})", entry.id), retry_after }
}

/// Shows what an engine says while it is made.
fn watch(entry: &Arc<Entry>) -> OnProgress {
    let entry = Arc::clone(entry);
    Arc::new(move |progress: LoadProgress| {
        let doing = match progress.step {
            LoadStep::Tuning => "measuring which options are fast on this machine",
            LoadStep::Checking => "verifying",
            _ => "loading",
        };
        entry.doing(doing, progress);
    })
}

/// Frees the memory of those that nobody uses. Engines end on a thread where waiting is allowed.
async fn unload(entries: Vec<Arc<Entry>>, why: &str) {
    for entry in entries {
        let Some(model) = entry.take() else { continue };
        tracing::info!(model = entry.id, why, "unloaded");
        if tokio::task::spawn_blocking(move || drop(model)).await.is_err() {
            tracing::error!(model = entry.id, "the engine's end panicked");
        }
    }
}

/// Unloads models when their time is over, as long as there is a shelf.
async fn janitor(shelf: std::sync::Weak<Shelf>) {
    /// Deadlines are looked at this often even if nobody says anything.
    const ROUND: Duration = Duration::from_secs(1);
    /// With many short requests a second it would look all the time.
    const GAP: Duration = Duration::from_millis(20);
    while let Some(shelf) = shelf.upgrade() {
        let released = shelf.released.notified();
        tokio::pin!(released);
        released.as_mut().enable();
        let next = shelf.sweep().await.unwrap_or_else(|| Instant::now() + ROUND).min(Instant::now() + ROUND);
        tokio::select! {
            () = released => {}
            () = tokio::time::sleep_until(next.into()) => {}
        }
        tokio::time::sleep(GAP).await;
    }
}
