//! Connections that wait for their next request. Pure: what a connection is, and what time, is the caller's.

use std::time::{Duration, Instant};

/// As reqwest and hyper have it too.
const IDLE: Duration = Duration::from_secs(90);

/// Connections, the one that waits longest first.
#[derive(Debug)]
pub(super) struct Idle<T> {
    waiting: Vec<(T, Instant)>,
    most: usize,
}

impl<T> Idle<T> {
    /// Keeps at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { waiting: Vec::new(), most }
    }

    /// The one that was used last: its upstream has had the least time to close it, and the others can grow old.
    pub(super) fn take(&mut self) -> Option<T> {
        self.waiting.pop().map(|(connection, _)| connection)
    }

    /// One that has become idle; it comes back if there are enough already.
    pub(super) fn put(&mut self, connection: T, now: Instant) -> Option<T> {
        if self.waiting.len() >= self.most {
            return Some(connection);
        }
        self.waiting.push((connection, now));
        None
    }

    /// Takes out those that have waited too long. Costs one comparison if there are none.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<T> {
        let is_expired = |(_, since): &(T, Instant)| now.saturating_duration_since(*since) > IDLE;
        match self.waiting.first() {
            Some(oldest) if is_expired(oldest) => {
                let expired = self.waiting.partition_point(is_expired);
                self.waiting.drain(..expired).map(|(connection, _)| connection).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_in_is_the_first_one_out_and_there_are_never_too_many() {
        let mut idle = Idle::new(2);
        let now = Instant::now();
        assert_eq!([1, 2, 3].map(|connection| idle.put(connection, now)), [None, None, Some(3)]);
        assert_eq!([(); 3].map(|()| idle.take()), [Some(2), Some(1), None]);
    }

    #[test]
    fn those_that_wait_too_long_are_taken_out() {
        let mut idle = Idle::new(9);
        let start = Instant::now();
        for (connection, after) in [(1, 0), (2, 10), (3, 100)] {
            idle.put(connection, start + Duration::from_secs(after));
        }
        assert_eq!(idle.expired(start + IDLE), [] as [i32; 0]);
        assert_eq!(idle.expired(start + Duration::from_secs(101)), [1, 2]);
        assert_eq!(idle.take(), Some(3));
    }
}
