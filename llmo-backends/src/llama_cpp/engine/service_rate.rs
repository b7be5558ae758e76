//! How fast requests are served, for telling callers when to come back.

use std::time::Duration;

/// What is assumed of a request before the first has ended.
const FIRST_GUESS: Duration = Duration::from_secs(1);

/// The measured work of a slot.
#[derive(Debug, Default)]
pub(super) struct ServiceRate {
    /// Smoothed tokens of prompt and output that a busy slot gets done in a second.
    tokens_per_second: Option<f64>,
}

impl ServiceRate {
    /// A request held a slot for this time and had so many tokens.
    pub(super) fn record(&mut self, held: Duration, tokens: u64) {
        let rate = tokens as f64 / held.as_secs_f64().max(1e-3);
        self.tokens_per_second = Some(self.tokens_per_second.map_or(rate, |old| old.mul_add(0.875, rate * 0.125)));
    }

    /// The time until so many queued requests with so many tokens are served by this many slots.
    pub(super) fn takes(&self, queued: usize, tokens: u64, slots: u32) -> Duration {
        let slots = slots.max(1);
        let Some(rate) = self.tokens_per_second else {
            let rounds = (queued as u64 + 1).div_ceil(u64::from(slots));
            return FIRST_GUESS.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        };
        let seconds = tokens as f64 / (rate * f64::from(slots)).max(1e-3);
        // A day is as good as never, and within what a duration holds.
        Duration::from_secs_f64(seconds.min(86_400.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_work_takes_longer_and_more_slots_shorten_it() {
        let mut rate = ServiceRate::default();
        assert_eq!(rate.takes(7, 1000, 4), Duration::from_secs(2));
        rate.record(Duration::from_secs(2), 200);
        assert_eq!(rate.takes(3, 1000, 1), Duration::from_secs(10));
        assert_eq!(rate.takes(3, 1000, 4), Duration::from_millis(2500));
        (0..50).for_each(|_| rate.record(Duration::from_secs(1), 1000));
        assert!(rate.takes(3, 1000, 1) < Duration::from_secs(2));
        assert!(ServiceRate { tokens_per_second: Some(0.0) }.takes(1, u64::MAX, 1) <= Duration::from_secs(86_400));
    }
}
