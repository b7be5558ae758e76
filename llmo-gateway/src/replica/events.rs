//! What changed lately: a short memory for the dashboard.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;

/// Most events remembered; older ones are forgotten.
const CAPACITY: usize = 64;

/// A change of a replica's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoolEvent {
    /// Unix time in milliseconds.
    pub at_ms: u64,
    /// The replica's id.
    pub replica: String,
    /// `up`, `not-ready`, `down`, `ejected`, `released`.
    pub what: &'static str,
    /// Why, for people.
    pub reason: String,
}

/// The latest events, oldest first, and how many there have been.
#[derive(Debug, Default)]
pub struct EventLog(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    latest: VecDeque<PoolEvent>,
    counts: BTreeMap<&'static str, u64>,
}

impl EventLog {
    /// Remembers an event as of now.
    pub fn push(&self, replica: &str, what: &'static str, reason: impl Into<String>) {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let event = PoolEvent {
            at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
            replica: replica.to_owned(),
            what,
            reason: reason.into(),
        };
        let mut events = self.0.lock();
        if events.latest.len() == CAPACITY {
            events.latest.pop_front();
        }
        events.latest.push_back(event);
        *events.counts.entry(what).or_default() += 1;
    }

    /// All that are remembered, newest first.
    #[must_use]
    pub fn latest(&self) -> Vec<PoolEvent> {
        self.0.lock().latest.iter().rev().cloned().collect()
    }

    /// How many events of this kind there have been, the forgotten ones included.
    #[must_use]
    pub fn count(&self, what: &str) -> u64 {
        self.0.lock().counts.get(what).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_keeps_the_newest() {
        let log = EventLog::default();
        for i in 0..(CAPACITY + 10) {
            log.push("a", "up", i.to_string());
        }
        let latest = log.latest();
        assert_eq!(latest.len(), CAPACITY);
        assert_eq!(latest[0].reason, (CAPACITY + 9).to_string());
        assert_eq!((log.count("up"), log.count("down")), (CAPACITY as u64 + 10, 0));
    }
}
