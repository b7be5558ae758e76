//! What guessed tokens cost on this machine, and so how many are worth running.

use std::time::Duration;

/// With more streams than this nothing is guessed: the processor is busy with their own tokens, and llama.cpp runs streams
/// with unequal numbers of tokens one after the other.
pub(super) const MOST_STREAMS: usize = 2;
/// Most guesses of one stream in one run.
const LONGEST: usize = 16;
/// Weight of one more step.
const WEIGHT: f64 = 0.1;
/// The share of a step that one more token is taken to cost while nothing is measured.
const PRESUMED: f64 = 0.5;
/// How fast a measured cost is forgotten while nothing is guessed: one bad moment must not end guessing for ever.
const FORGET: f64 = 0.002;
/// After so many steps with guesses comes one without: what a plain step takes changes as streams grow.
const STEPS_TO_A_PLAIN_ONE: u32 = 32;
/// Guesses must be worth this much more than they cost: they are only estimates.
const MARGIN: f64 = 1.1;

/// Learns what steps take with and without guesses, for each small number of streams.
#[derive(Debug)]
pub(in super::super) struct StepCost {
    by_streams: [Measured; MOST_STREAMS],
    since_plain: u32,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Smoothed seconds of a step without guesses.
    plain: Option<f64>,
    /// Smoothed cost of one guess, as a share of a plain step.
    share: f64,
}

impl Default for StepCost {
    fn default() -> Self {
        Self { by_streams: [Measured { plain: None, share: PRESUMED }; MOST_STREAMS], since_plain: 0 }
    }
}

impl StepCost {
    /// Is guessing worth a thought with so many streams?
    pub(in super::super) fn may_guess(streams: usize) -> bool {
        (1..=MOST_STREAMS).contains(&streams)
    }

    /// How many guesses of a stream to run in a step of `streams` streams, if this share of its guesses is right, so that
    /// tokens a second are most.
    pub(in super::super) fn length(&self, streams: usize, hit_rate: f64) -> usize {
        let measured = streams.checked_sub(1).and_then(|index| self.by_streams.get(index));
        let Some(Measured { plain: Some(_), share }) = measured else { return 0 };
        if self.since_plain >= STEPS_TO_A_PLAIN_ONE {
            return 0;
        }
        let (mut tokens, mut cost, mut likely) = (streams as f64, 1.0, 1.0);
        for length in 0..LONGEST {
            likely *= hit_rate;
            // One more guess pays if (tokens + likely) / (cost + share) is above tokens / cost.
            if likely * cost <= share * tokens * MARGIN {
                return length;
            }
            tokens += likely;
            cost += share;
        }
        LONGEST
    }

    /// A step of so many streams, with this many guesses in all, took this long.
    pub(in super::super) fn stepped(&mut self, streams: usize, guesses: usize, took: Duration) {
        let Some(measured) = streams.checked_sub(1).and_then(|index| self.by_streams.get_mut(index)) else { return };
        let took = took.as_secs_f64();
        self.since_plain = if guesses == 0 { 0 } else { self.since_plain.saturating_add(1) };
        match (&mut measured.plain, guesses) {
            (Some(plain), 0) => {
                // A step in which the system did something else says little.
                *plain += WEIGHT * (took.min(*plain * 4.0) - *plain);
                measured.share += FORGET * (PRESUMED - measured.share);
            }
            (plain @ None, 0) => *plain = Some(took),
            (Some(plain), guesses) => {
                let share = (took / *plain - 1.0) / guesses as f64;
                measured.share += WEIGHT * (share.clamp(0.0, 2.0) - measured.share);
            }
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A machine on which a step takes 10 ms and each guess `extra` ms more.
    fn measured(streams: usize, extra: u32) -> StepCost {
        let mut cost = StepCost::default();
        for _ in 0..100 {
            cost.stepped(streams, 0, 10 * MS);
            cost.stepped(streams, 4, (10 + 4 * extra) * MS);
        }
        cost
    }

    #[test]
    fn nothing_is_guessed_before_a_plain_step_was_measured() {
        assert_eq!(StepCost::default().length(1, 1.0), 0);
    }

    #[test]
    fn cheap_guesses_that_are_mostly_right_are_run_and_dear_or_wrong_ones_are_not() {
        assert!(measured(1, 1).length(1, 0.9) >= 6);
        assert_eq!(measured(1, 1).length(1, 0.05), 0);
        assert_eq!(measured(1, 10).length(1, 0.9), 0);
        assert!(measured(1, 3).length(1, 0.9) < measured(1, 1).length(1, 0.9));
    }

    #[test]
    fn a_guess_must_pay_for_all_streams_that_wait_for_it() {
        assert!(measured(1, 3).length(1, 0.8) > 0);
        assert_eq!(measured(2, 5).length(2, 0.8), 0);
        assert_eq!(measured(1, 1).length(MOST_STREAMS + 1, 1.0), 0);
        assert!(!StepCost::may_guess(0) && !StepCost::may_guess(MOST_STREAMS + 1));
    }

    #[test]
    fn a_plain_step_comes_now_and_then() {
        let mut cost = measured(1, 1);
        cost.stepped(1, 0, 10 * MS);
        for _ in 0..STEPS_TO_A_PLAIN_ONE {
            assert!(cost.length(1, 0.9) > 0);
            cost.stepped(1, 4, 14 * MS);
        }
        assert_eq!(cost.length(1, 0.9), 0);
        cost.stepped(1, 0, 10 * MS);
        assert!(cost.length(1, 0.9) > 0);
    }

    #[test]
    fn a_cost_that_was_too_high_is_tried_again() {
        let mut cost = measured(1, 20);
        assert_eq!(cost.length(1, 0.95), 0);
        for _ in 0..3000 {
            cost.stepped(1, 0, 10 * MS);
        }
        assert!(cost.length(1, 0.95) > 0);
    }
}
