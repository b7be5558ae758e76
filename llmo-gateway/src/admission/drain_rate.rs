//! How quickly a queue moves.

use std::time::{Duration, Instant};

/// What happened longer ago counts for less: this is when it counts for a third.
const MEMORY: Duration = Duration::from_secs(5);
/// With less to go by nobody can tell.
const FEWEST: u32 = 8;

/// Tokens of work that leave the queue in a second, as an exponentially weighted rate. Only times in which somebody waits
/// count: an idle gateway moves nothing and is not slow.
#[derive(Debug, Clone, Default)]
pub struct DrainRate {
    /// Work of the past, weighed.
    work: f64,
    /// Time in which it was done, weighed the same.
    busy: f64,
    samples: u32,
    last: Option<Instant>,
}

impl DrainRate {
    /// Somebody begins to wait: time counts from now on, if it did not.
    pub fn busy(&mut self, now: Instant) {
        self.last.get_or_insert(now);
    }

    /// Nobody waits any more.
    pub fn idle(&mut self) {
        self.last = None;
    }

    /// So much work left the queue.
    pub fn moved(&mut self, work: u64, now: Instant) {
        let Some(last) = self.last.replace(now) else { return };
        let passed = now.saturating_duration_since(last).as_secs_f64();
        let kept = (-passed / MEMORY.as_secs_f64()).exp();
        self.work = self.work * kept + work as f64;
        self.busy = self.busy * kept + passed;
        self.samples = self.samples.saturating_add(1);
    }

    /// Time until so much work has left; `None` while nobody knows.
    #[must_use]
    pub fn time_for(&self, work: u64) -> Option<Duration> {
        if self.samples < FEWEST || self.work <= 0.0 {
            return None;
        }
        Duration::try_from_secs_f64(work as f64 * self.busy / self.work).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_found_and_idle_time_does_not_count() {
        let mut now = Instant::now();
        let mut rate = DrainRate::default();
        rate.busy(now);
        assert_eq!(rate.time_for(1), None);
        for _ in 0..50 {
            now += Duration::from_millis(100);
            rate.moved(200, now);
        }
        let time = |rate: &DrainRate| rate.time_for(4_000).expect("known").as_secs_f64();
        assert!((time(&rate) - 2.0).abs() < 0.1, "{}", time(&rate));
        rate.idle();
        now += Duration::from_secs(600);
        rate.busy(now);
        assert!((time(&rate) - 2.0).abs() < 0.1, "{}", time(&rate));
    }

    #[test]
    fn a_new_rate_is_followed() {
        let mut now = Instant::now();
        let mut rate = DrainRate::default();
        rate.busy(now);
        for (step, work) in [(100, 1_000), (100, 100)] {
            for _ in 0..300 {
                now += Duration::from_millis(step);
                rate.moved(work, now);
            }
        }
        let time = rate.time_for(1_000).expect("known").as_secs_f64();
        assert!((0.9..1.1).contains(&time), "{time}");
    }
}
