//! A circuit breaker: whether to ask a backend at all.
//!
//! Pure: the time is passed in. After a few failures in a row the circuit opens and callers go on without the backend,
//! at no cost, for a pause; then one probe decides. Each failed probe doubles the pause up to a cap, so that a dead
//! backend costs almost nothing and one that came back is used again soon. A backend that keeps falling over right
//! after its probes keeps its long pause: only a calm period resets it.

use std::time::{Duration, Instant};

/// When to give up on a backend, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BreakerPolicy {
    /// Failures in a row that open the circuit.
    pub(crate) failures: u32,
    /// First pause.
    pub(crate) first_pause: Duration,
    /// No pause is longer.
    pub(crate) longest_pause: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 3, first_pause: Duration::from_millis(50), longest_pause: Duration::from_secs(2) }
    }
}

/// How a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The backend answered.
    Answered,
    /// It did not answer in time.
    Failed,
    /// It is certainly gone (refused, connection lost): no use in counting to the limit.
    Gone,
}

/// Leave to make one call; hand it back with the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permit {
    probe: bool,
}

/// The state of the circuit to one backend.
#[derive(Debug)]
pub(crate) struct Breaker {
    policy: BreakerPolicy,
    failures_in_a_row: u32,
    /// Pauses since the last calm period; the exponent of the next one.
    pauses: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { since: Option<Instant> },
    Open { probe_at: Instant },
}

// === impl Breaker ===

impl Breaker {
    /// A closed circuit.
    #[cfg(any(feature = "remote", test))]
    pub(crate) fn closed(policy: BreakerPolicy) -> Self {
        Self { policy, failures_in_a_row: 0, pauses: 0, state: State::Closed { since: None } }
    }

    /// An open circuit with a probe due at once: the backend has never been seen.
    #[cfg(feature = "redis")]
    pub(crate) fn untried(policy: BreakerPolicy, now: Instant) -> Self {
        Self { policy, failures_in_a_row: 0, pauses: 0, state: State::Open { probe_at: now } }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// When the next probe is due; `None` while the circuit is closed.
    #[cfg(feature = "redis")]
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { probe_at } => Some(probe_at),
        }
    }

    /// May a call be made now? While the circuit is open, one probe a pause may.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Permit> {
        match self.state {
            State::Closed { .. } => Some(Permit { probe: false }),
            State::Open { probe_at } if now < probe_at => None,
            State::Open { .. } => {
                // A probe whose caller was cancelled never settles: the next one is due all the same.
                self.state = State::Open { probe_at: now + self.pause() };
                Some(Permit { probe: true })
            }
        }
    }

    /// Takes note of how a call went.
    pub(crate) fn settle(&mut self, permit: Permit, outcome: Outcome, now: Instant) {
        if permit.probe {
            match outcome {
                Outcome::Answered => self.close(now),
                Outcome::Failed | Outcome::Gone => self.open(now),
            }
            return;
        }
        let State::Closed { since } = self.state else {
            return; // A call from before the circuit opened: its failure is counted already.
        };
        match outcome {
            Outcome::Answered => self.failures_in_a_row = 0,
            Outcome::Failed => self.failures_in_a_row += 1,
            Outcome::Gone => self.failures_in_a_row = self.policy.failures,
        }
        if self.failures_in_a_row >= self.policy.failures {
            if since.is_none_or(|since| now.duration_since(since) > self.policy.longest_pause) {
                self.pauses = 0;
            }
            self.open(now);
        }
    }

    fn close(&mut self, now: Instant) {
        self.failures_in_a_row = 0;
        self.state = State::Closed { since: Some(now) };
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open { probe_at: now + self.pause() };
        self.pauses = self.pauses.saturating_add(1);
    }

    fn pause(&self) -> Duration {
        let doubled = self.policy.first_pause.saturating_mul(1_u32 << self.pauses.min(20));
        doubled.min(self.policy.longest_pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn breaker() -> Breaker {
        Breaker::closed(BreakerPolicy { failures: 3, first_pause: 50 * MS, longest_pause: 400 * MS })
    }

    fn call(breaker: &mut Breaker, outcome: Outcome, now: Instant) {
        let permit = breaker.admit(now).expect("the circuit is closed, or a probe is due");
        breaker.settle(permit, outcome, now);
    }

    #[test]
    fn failures_in_a_row_open_the_circuit() {
        let (mut breaker, now) = (breaker(), Instant::now());
        call(&mut breaker, Outcome::Failed, now);
        call(&mut breaker, Outcome::Failed, now);
        call(&mut breaker, Outcome::Answered, now);
        call(&mut breaker, Outcome::Failed, now);
        call(&mut breaker, Outcome::Failed, now);
        assert!(breaker.is_closed());
        call(&mut breaker, Outcome::Failed, now);
        assert!(!breaker.is_closed());
        assert_eq!(breaker.admit(now), None);
    }

    #[test]
    fn a_backend_that_is_gone_opens_it_at_once() {
        let (mut breaker, now) = (breaker(), Instant::now());
        call(&mut breaker, Outcome::Gone, now);
        assert_eq!(breaker.admit(now), None);
    }

    #[test]
    fn pauses_grow_to_the_cap() {
        let (mut breaker, mut now) = (breaker(), Instant::now());
        call(&mut breaker, Outcome::Gone, now);
        for pause in [50, 100, 200, 400, 400, 400] {
            assert_eq!(breaker.admit(now + (pause - 1) * MS), None, "pause of {pause} ms");
            now += pause * MS;
            call(&mut breaker, Outcome::Failed, now);
        }
    }

    #[test]
    fn one_probe_a_pause_and_its_success_closes_the_circuit() {
        let (mut breaker, now) = (breaker(), Instant::now());
        call(&mut breaker, Outcome::Gone, now);
        let later = now + 50 * MS;
        let probe = breaker.admit(later).unwrap();
        assert_eq!(breaker.admit(later), None);
        breaker.settle(probe, Outcome::Answered, later);
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_probe_that_never_settles_does_not_block_the_next() {
        let (mut breaker, now) = (breaker(), Instant::now());
        call(&mut breaker, Outcome::Gone, now);
        assert!(breaker.admit(now + 50 * MS).is_some());
        assert!(breaker.admit(now + 200 * MS).is_some());
    }

    #[test]
    fn failures_of_calls_from_before_do_not_lengthen_the_pause() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let straggler = breaker.admit(now).unwrap();
        call(&mut breaker, Outcome::Gone, now);
        breaker.settle(straggler, Outcome::Failed, now);
        assert!(breaker.admit(now + 50 * MS).is_some());
    }

    #[test]
    fn only_a_calm_period_resets_the_pause() {
        let (mut breaker, mut now) = (breaker(), Instant::now());
        call(&mut breaker, Outcome::Gone, now);
        now += 50 * MS;
        call(&mut breaker, Outcome::Answered, now);
        call(&mut breaker, Outcome::Gone, now);
        assert_eq!(breaker.admit(now + 99 * MS), None, "flapping: the second pause is doubled");
        now += 100 * MS;
        call(&mut breaker, Outcome::Answered, now);
        now += 500 * MS;
        call(&mut breaker, Outcome::Gone, now);
        assert!(breaker.admit(now + 50 * MS).is_some(), "calm for longer than the cap: back to the first pause");
    }
}
