//! Where callers leave requests and the engine picks them up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use llmo_core::ModelError;
use llmo_core::model::Load;
use parking_lot::Mutex;

use super::admission::{FairQueue, Queued};
use super::job::Job;
use super::service_rate::ServiceRate;

/// Bounds of the queue.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Limits {
    /// Most requests that wait.
    pub(in super::super) requests: usize,
    /// Most prompt tokens that wait, but a single request is admitted to an empty queue.
    pub(in super::super) tokens: u64,
}

/// The bounded queue between callers and the engine, and what the engine reports of itself.
pub(in super::super) struct Mailbox {
    limits: Limits,
    slots: u32,
    waiting: Mutex<Waiting>,
    engine: OnceLock<Thread>,
    slots_free: AtomicU32,
    /// Used share of the KV cache, in parts of a million.
    kv_used_ppm: AtomicU32,
    guessed: AtomicU64,
    guessed_right: AtomicU64,
    service: Mutex<ServiceRate>,
    prefix_query_tokens: AtomicU64,
    prefix_hit_tokens: AtomicU64,
    prefill_tokens: AtomicU64,
    decode_tokens: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    jobs: FairQueue<Job>,
    /// Of their prompts.
    tokens: u64,
    /// Why nothing is taken any more.
    closed: Option<ModelError>,
}

impl Waiting {
    fn remove_unwanted(&mut self) {
        self.jobs.retain(Job::is_wanted);
        self.count();
    }

    fn count(&mut self) {
        self.tokens = self.jobs.iter().map(tokens).sum();
    }

    fn is_full(&self, limits: Limits, next: &Job) -> bool {
        self.jobs.len() >= limits.requests
            || (!self.jobs.is_empty() && self.tokens.saturating_add(tokens(next)) > limits.tokens)
    }
}

fn tokens(job: &Job) -> u64 {
    job.prompt.len() as u64
}

impl Mailbox {
    pub(in super::super) fn new(limits: Limits, slots: u32) -> Self {
        Self {
            limits,
            slots,
            waiting: Mutex::default(),
            engine: OnceLock::new(),
            slots_free: AtomicU32::new(slots),
            kv_used_ppm: AtomicU32::new(0),
            guessed: AtomicU64::new(0),
            guessed_right: AtomicU64::new(0),
            service: Mutex::default(),
            prefix_query_tokens: AtomicU64::new(0),
            prefix_hit_tokens: AtomicU64::new(0),
            prefill_tokens: AtomicU64::new(0),
            decode_tokens: AtomicU64::new(0),
        }
    }

    /// Queues a job, or refuses it at once.
    ///
    /// # Errors
    /// [`ModelError::Overloaded`] if the queue is full; what [`close`](Self::close) was given.
    pub(in super::super) fn submit(&self, job: Job) -> Result<(), ModelError> {
        {
            let mut waiting = self.waiting.lock();
            if let Some(reason) = &waiting.closed {
                return Err(reason.clone());
            }
            // Callers that left are counted only until somebody needs their place.
            if waiting.is_full(self.limits, &job) {
                waiting.remove_unwanted();
            }
            if waiting.is_full(self.limits, &job) {
                let work = waiting.jobs.iter().map(Queued::tokens).sum();
                return Err(self.overloaded(waiting.jobs.len(), work));
            }
            waiting.tokens += tokens(&job);
            waiting.jobs.push(job);
        }
        self.wake();
        Ok(())
    }

    fn overloaded(&self, queued: usize, work: u64) -> ModelError {
        let retry_after = self.service.lock().takes(queued, work, self.slots);
        ModelError::Overloaded {
            reason: format!("{queued} requests are waiting for {} slots", self.slots),
            retry_after: retry_after.clamp(Duration::from_secs(1), Duration::from_secs(60)),
        }
    }

    /// Takes no more jobs. Those that wait are refused with the same reason.
    pub(in super::super) fn close(&self, reason: &ModelError) {
        let jobs = {
            let mut waiting = self.waiting.lock();
            waiting.closed.get_or_insert_with(|| reason.clone());
            waiting.tokens = 0;
            waiting.jobs.drain()
        };
        jobs.into_iter().for_each(|job| job.refuse(reason.clone()));
        self.wake();
    }

    /// Makes the engine look around, if it sleeps. A few nanoseconds if it does not.
    pub(in super::super) fn wake(&self) {
        if let Some(engine) = self.engine.get() {
            engine.unpark();
        }
    }

    /// How busy the engine is.
    pub(in super::super) fn load(&self) -> Load {
        let (jobs, tokens) = {
            let waiting = self.waiting.lock();
            (waiting.jobs.len(), waiting.tokens)
        };
        let mut load = Load::idle(self.slots);
        load.slots_free = self.slots_free.load(Ordering::Relaxed);
        load.queued_requests = u32::try_from(jobs).unwrap_or(u32::MAX);
        load.queued_tokens = tokens;
        load.draft_tokens = self.guessed.load(Ordering::Relaxed);
        load.draft_accepted_tokens = self.guessed_right.load(Ordering::Relaxed);
        load.kv_used = self.kv_used_ppm.load(Ordering::Relaxed) as f32 / 1e6;
        load.prefix_query_tokens = self.prefix_query_tokens.load(Ordering::Relaxed);
        load.prefix_hit_tokens = self.prefix_hit_tokens.load(Ordering::Relaxed);
        load.prefill_tokens = self.prefill_tokens.load(Ordering::Relaxed);
        load.decode_tokens = self.decode_tokens.load(Ordering::Relaxed);
        load
    }

    /// The engine's thread says who it is. Once.
    pub(super) fn attach(&self, engine: Thread) {
        let _ = self.engine.set(engine);
    }

    /// Is nothing waiting and nothing more to come?
    pub(super) fn is_finished(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.closed.is_some() && waiting.jobs.is_empty()
    }

    /// The next job ([`FairQueue`]: tenants in turn, within a tenant by priority) that is still wanted and in time. Others on the
    /// way are refused or forgotten, also when `may_start` is false and none is taken.
    pub(super) fn take(&self, now: Instant, may_start: bool) -> Option<Job> {
        let (taken, late) = {
            let mut waiting = self.waiting.lock();
            if waiting.jobs.is_empty() {
                return None;
            }
            waiting.remove_unwanted();
            let late = waiting.jobs.extract(|job| job.request.deadline.is_some_and(|deadline| deadline <= now));
            let taken = if may_start { waiting.jobs.pop(now) } else { None };
            waiting.count();
            (taken, late)
        };
        for job in late {
            job.refuse(ModelError::DeadlineExceeded { stage: "in the queue".into() });
        }
        taken
    }

    /// The earliest deadline among the waiting.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.lock().jobs.iter().filter_map(|job| job.request.deadline).min()
    }

    /// The engine reports free slots and used KV cache.
    pub(super) fn report(&self, slots_free: u32, kv_used: f32) {
        self.slots_free.store(slots_free, Ordering::Relaxed);
        self.kv_used_ppm.store((kv_used * 1e6) as u32, Ordering::Relaxed);
    }

    /// The engine reports tokens that it guessed ahead, and how many of them were right.
    pub(super) fn report_guesses(&self, guessed: usize, right: usize) {
        self.guessed.fetch_add(guessed as u64, Ordering::Relaxed);
        self.guessed_right.fetch_add(right as u64, Ordering::Relaxed);
    }

    /// The engine reports how long a request held a slot, and the tokens of its prompt and its output.
    pub(super) fn report_service(&self, took: Duration, tokens: u64) {
        self.service.lock().record(took, tokens);
    }

    /// The engine looked for the beginning of a prompt and found so much of it.
    pub(super) fn count_prefix(&self, prompt: usize, found: usize) {
        self.prefix_query_tokens.fetch_add(prompt as u64, Ordering::Relaxed);
        self.prefix_hit_tokens.fetch_add(found as u64, Ordering::Relaxed);
    }

    /// The engine read so many tokens of prompts.
    pub(super) fn count_prefill(&self, tokens: usize) {
        self.prefill_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    /// The engine generated so many tokens.
    pub(super) fn count_decode(&self, tokens: u32) {
        self.decode_tokens.fetch_add(u64::from(tokens), Ordering::Relaxed);
    }
}
