//! The retry budget: retries are a share of requests, so that a failing upstream is not buried in repetitions.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The minimum that is always allowed comes anew this often.
const PERIOD: Duration = Duration::from_secs(10);
/// Most retries that can be saved up, however many requests went well: what the death of a busy replica may need.
const MOST_SAVED: f64 = 128.0;

/// A token bucket that requests fill and retries empty, plus a small minimum in every ten seconds.
///
/// However long everything fails, attempts ≤ requests × (1 + share) + minimum for each ten seconds.
#[derive(Debug)]
pub struct RetryBudget {
    share: f64,
    minimum: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    saved: f64,
    period_start: Option<Instant>,
    used_of_minimum: u32,
}

impl RetryBudget {
    /// Retries may be `percent` of requests, and `minimum` are always allowed in ten seconds.
    #[must_use]
    pub fn new(percent: u32, minimum: u32) -> Self {
        Self { share: f64::from(percent) / 100.0, minimum, state: Mutex::default() }
    }

    /// Counts a request.
    pub fn deposit(&self) {
        let mut state = self.state.lock();
        state.saved = (state.saved + self.share).min(MOST_SAVED);
    }

    /// May a retry be made? Counts it if so.
    pub fn withdraw(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        // A tenth and a tenth … ten times is a hair less than one.
        if state.saved >= 1.0 - 1e-9 {
            state.saved = (state.saved - 1.0).max(0.0);
            return true;
        }
        if state.period_start.is_none_or(|start| now.saturating_duration_since(start) >= PERIOD) {
            state.period_start = Some(now);
            state.used_of_minimum = 0;
        }
        let allowed = state.used_of_minimum < self.minimum;
        state.used_of_minimum += u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn attempts_stay_within_the_budget_when_everything_fails(requests in 0_u32..500, per_request in 1_u32..10) {
            let now = Instant::now();
            let budget = RetryBudget::new(20, 3);
            let mut retries = 0;
            for _ in 0..requests {
                budget.deposit();
                retries += (0..per_request).take_while(|_| budget.withdraw(now)).count();
            }
            let bound = (f64::from(requests) * 0.2).floor() + 3.0;
            prop_assert!(retries as f64 <= bound, "{retries} retries of {requests} requests");
        }
    }

    #[test]
    fn the_minimum_comes_anew() {
        let now = Instant::now();
        let budget = RetryBudget::new(20, 3);
        let drain = |now| (0..10).filter(|_| budget.withdraw(now)).count();
        assert_eq!(drain(now), 3);
        assert_eq!(drain(now + PERIOD / 2), 0);
        assert_eq!(drain(now + PERIOD), 3);
    }

    #[test]
    fn calm_times_save_up_for_a_death_but_not_without_end() {
        let now = Instant::now();
        let budget = RetryBudget::new(20, 0);
        (0..100_000).for_each(|_| budget.deposit());
        assert_eq!((0..10_000).filter(|_| budget.withdraw(now)).count(), 128);
    }
}
