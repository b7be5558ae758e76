//! One waker for many sleepers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The waker that the inner stream gets: it wakes every subscriber that waits.
#[derive(Debug)]
pub(super) struct Bell {
    /// Rung since somebody last looked? Spares all subscribers but one from polling the inner stream for nothing.
    rung: AtomicBool,
    sleepers: Mutex<HashMap<u64, Waker>>,
}

impl Default for Bell {
    /// Rung already: a stream must be polled once before it wakes anybody.
    fn default() -> Self {
        Self { rung: AtomicBool::new(true), sleepers: Mutex::default() }
    }
}

impl Bell {
    fn sleepers(&self) -> MutexGuard<'_, HashMap<u64, Waker>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wake this subscriber next time.
    pub(super) fn sleep(&self, id: u64, waker: &Waker) {
        self.sleepers().insert(id, waker.clone());
    }

    /// This subscriber has left.
    pub(super) fn leave(&self, id: u64) {
        self.sleepers().remove(&id);
    }

    /// Has it rung since the last call?
    pub(super) fn take_rung(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }

    /// There is something to look at.
    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        let sleepers = std::mem::take(&mut *self.sleepers());
        sleepers.into_values().for_each(Waker::wake);
    }
}

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.ring();
    }
}
