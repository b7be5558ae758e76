//! Counts the requests that an upstream is working on for us.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use llmo_core::model::Load;

/// Requests sent and not yet answered to the end. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<AtomicU32>);

impl InFlight {
    /// One more, until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> Guard {
        self.0.fetch_add(1, Ordering::Relaxed);
        Guard(self.clone())
    }

    /// The load as far as it can be known from here: others may use the upstream too. Requests beyond `slots` are
    /// taken to be queued.
    #[must_use]
    pub fn load(&self, slots: u32) -> Load {
        let running = self.0.load(Ordering::Relaxed);
        let mut load = Load::idle(slots);
        load.slots_free = slots.saturating_sub(running);
        load.queued_requests = running.saturating_sub(slots);
        load
    }
}

/// A request that is being worked on.
#[derive(Debug)]
pub struct Guard(InFlight);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_whether_slots_are_known_or_not() {
        let requests = InFlight::default();
        let guards: Vec<_> = (0..3).map(|_| requests.enter()).collect();
        assert_eq!(requests.load(0).in_flight(), 3);
        assert_eq!(requests.load(2).in_flight(), 3);
        assert_eq!(requests.load(2).queued_requests, 1);
        assert_eq!(requests.load(4).slots_free, 1);
        drop(guards);
        assert_eq!(requests.load(0), Load::idle(0));
    }
}
