//! Slots, the queue before them, and the load they make.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use llmo_core::model::{Load, ModelError, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::options::SimOptions;

/// The slots of one model. First come, first served.
#[derive(Debug)]
pub struct Slots {
    permits: Arc<Semaphore>,
    slots: u32,
    queue: u32,
    retry_after: Duration,
    /// Tokens that all slots hold together.
    kv_capacity: u64,
    kv_tokens: AtomicU64,
    queued_requests: AtomicU32,
    queued_tokens: AtomicU64,
}

impl Slots {
    /// All free.
    #[must_use]
    pub fn new(options: &SimOptions) -> Self {
        let slots = options.slots.max(1);
        Self {
            permits: Arc::new(Semaphore::new(slots as usize)),
            slots,
            queue: options.queue,
            retry_after: options.retry_after,
            kv_capacity: u64::from(slots) * u64::from(options.context_length.max(1)),
            kv_tokens: AtomicU64::new(0),
            queued_requests: AtomicU32::new(0),
            queued_tokens: AtomicU64::new(0),
        }
    }

    /// Waits for a slot. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`ModelError::Overloaded`] at once if the queue is full, [`ModelError::DeadlineExceeded`] if no slot came free
    /// in time.
    pub async fn acquire(self: &Arc<Self>, prompt_tokens: u64, deadline: Option<Instant>) -> Result<Slot> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = Place::take(self, prompt_tokens)?;
                self.wait(deadline).await?
            }
        };
        self.kv_tokens.fetch_add(prompt_tokens, Ordering::Relaxed);
        Ok(Slot { slots: Arc::clone(self), tokens: prompt_tokens, _permit: permit })
    }

    async fn wait(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), permit)
                .await
                .map_err(|_| ModelError::DeadlineExceeded { stage: "in the queue".into() })?,
            None => permit.await,
        };
        permit.map_err(|_| ModelError::Internal("the slots were closed".into()))
    }

    /// How busy the slots are.
    #[must_use]
    pub fn load(&self) -> Load {
        let mut load = Load::idle(self.slots);
        load.slots_free = u32::try_from(self.permits.available_permits()).unwrap_or(self.slots);
        load.queued_requests = self.queued_requests.load(Ordering::Relaxed);
        load.queued_tokens = self.queued_tokens.load(Ordering::Relaxed);
        load.kv_used = (self.kv_tokens.load(Ordering::Relaxed) as f64 / self.kv_capacity as f64).min(1.0) as f32;
        load
    }
}

/// A place in the queue; left on drop.
struct Place<'a> {
    slots: &'a Slots,
    tokens: u64,
}

impl<'a> Place<'a> {
    fn take(slots: &'a Slots, tokens: u64) -> Result<Self> {
        let free = |queued| (queued < slots.queue).then_some(queued + 1);
        slots.queued_requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).map_err(|queued| {
            let reason = format!("all {} slots are busy and {queued} requests wait", slots.slots);
            ModelError::Overloaded { reason, retry_after: slots.retry_after }
        })?;
        slots.queued_tokens.fetch_add(tokens, Ordering::Relaxed);
        Ok(Self { slots, tokens })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.slots.queued_requests.fetch_sub(1, Ordering::Relaxed);
        self.slots.queued_tokens.fetch_sub(self.tokens, Ordering::Relaxed);
    }
}

/// A slot in use; free again on drop.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    tokens: u64,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Its KV cache holds one token more.
    pub fn grow(&mut self) {
        self.tokens += 1;
        self.slots.kv_tokens.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.kv_tokens.fetch_sub(self.tokens, Ordering::Relaxed);
    }
}
