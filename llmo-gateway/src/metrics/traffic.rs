//! Requests as the dashboard counts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use llmo_core::model::ModelError;

/// Requests so far and now.
#[derive(Debug, Default)]
pub struct Traffic {
    total: AtomicU64,
    failed: AtomicU64,
    in_flight: AtomicU64,
}

impl Traffic {
    /// Requests that came to a model, or were refused on the way to it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Of these, those that failed through no fault of their caller.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Requests that run now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A request begins; it ends when the guard is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Running {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }
}

/// A request that runs.
#[derive(Debug)]
pub struct Running(Arc<Traffic>);

impl Running {
    /// It failed with this error.
    pub fn failed(&self, error: &ModelError) {
        let callers_fault = matches!(
            error,
            ModelError::InvalidRequest { .. }
                | ModelError::ContextOverflow { .. }
                | ModelError::NotFound { .. }
                | ModelError::Unsupported { .. }
        );
        self.0.failed.fetch_add(u64::from(!callers_fault), Ordering::Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
