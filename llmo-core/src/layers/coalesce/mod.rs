//! Identical requests at the same time share one generation.
//!
//! ```text
//!  caller ─► Subscriber ─┐
//!  caller ─► Subscriber ─┼─► Run: events so far, and the inner stream that makes more
//!  caller ─► Subscriber ─┘        (whoever finds no new event drives it; a Bell wakes them all)
//! ```
//!
//! There is no leader that the others depend on: the run belongs to its subscribers together, and each of them can drive
//! it. When one leaves, the others go on with the same generation; when the last one leaves, it is dropped and thereby
//! cancelled. Only when the generation itself dies (a panic, or the deadline of the request that started it) do the
//! remaining subscribers start a new one, once for all, and go on where they were.

mod bell;
mod identity;
mod run;
mod subscriber;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;

use crate::model::{CacheUse, EventStream, GenerateRequest, Load, Model, ModelInfo, Result};
use identity::Identity;
use run::Run;
use subscriber::Subscriber;

/// How generations are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoalesceOptions {
    /// Memory for the events of one generation, in bytes. When they need more, nobody can join any more, and a
    /// subscriber that is further behind than this is cut off.
    pub buffer_bytes: usize,
}

impl Default for CoalesceOptions {
    fn default() -> Self {
        Self { buffer_bytes: 1 << 20 }
    }
}

/// Lets identical deterministic requests share one generation while it runs.
///
/// Identical are requests that differ in nothing but deadline and request id: tenants never share. Those that join get
/// every event from the start, and [`CacheStatus::Coalesced`](crate::model::CacheStatus::Coalesced) as their origin.
/// Requests that sample without a seed, or that want no cache, pass by. As this crate has no timers, a caller whose
/// deadline is earlier than the generation's learns that it has passed with the next token.
///
/// ```
/// # use std::sync::Arc;
/// # fn example(model: Arc<dyn llmo_core::Model>) -> Arc<dyn llmo_core::Model> {
/// use llmo_core::layers::{Coalesce, CoalesceOptions};
///
/// Arc::new(Coalesce::new(model, CoalesceOptions::default()))
/// # }
/// ```
pub struct Coalesce {
    shared: Arc<Shared>,
}

/// What subscribers need to start a run again.
struct Shared {
    inner: Arc<dyn Model>,
    options: CoalesceOptions,
    /// The runs that can be joined.
    runs: Mutex<HashMap<Arc<Identity>, Weak<Run>>>,
}

impl Coalesce {
    /// Shares the generations of `inner`.
    pub fn new(inner: Arc<dyn Model>, options: CoalesceOptions) -> Self {
        Self { shared: Arc::new(Shared { inner, options, runs: Mutex::default() }) }
    }
}

impl Shared {
    fn runs(&self) -> MutexGuard<'_, HashMap<Arc<Identity>, Weak<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open run of this request, or a new one; true if it is new.
    fn join(self: &Arc<Self>, request: &GenerateRequest, attempt: u32) -> (Arc<Run>, bool) {
        let identity = Arc::new(Identity::of(request));
        let mut runs = self.runs();
        // Kept until the lock is released: dropping the last reference to a run takes the lock.
        let known = runs.get(&identity).and_then(Weak::upgrade);
        if let Some(run) = known.as_ref().filter(|run| run.is_open()) {
            return (Arc::clone(run), false);
        }
        let run = Arc::new(Run::new(self, request.clone(), Arc::clone(&identity), attempt));
        runs.insert(identity, Arc::downgrade(&run));
        drop(runs);
        (run, true)
    }

    /// Nobody can join `run` any more.
    fn forget(&self, identity: &Identity, run: *const Run) {
        let mut runs = self.runs();
        if runs.get(identity).is_some_and(|known| std::ptr::eq(known.as_ptr(), run)) {
            runs.remove(identity);
        }
    }
}

#[async_trait]
impl Model for Coalesce {
    fn info(&self) -> &ModelInfo {
        self.shared.inner.info()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&*self.shared.inner)
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        if !request.is_deterministic() || request.cache != CacheUse::Default {
            return self.shared.inner.generate(request).await;
        }
        request.validate()?;
        Subscriber::join(Arc::clone(&self.shared), request).accepted().await
    }

    fn load(&self) -> Load {
        self.shared.inner.load()
    }
}
