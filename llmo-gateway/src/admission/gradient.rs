//! How much may run at once, learnt from how long first tokens take.

use std::time::Duration;

/// After so many samples the wait of an unhurried upstream is measured again…
const EVERY: u32 = 4_000;
/// …by so many samples…
const PROBE: u32 = 16;
/// …at this part of the limit: well below any queue, as the limit is at most a bit above twice the capacity.
const PROBE_AT: f64 = 0.25;
/// Waits may grow by this factor before the limit shrinks.
const TOLERANCE: f64 = 2.0;
/// Waits below this are never too long, in seconds: scheduling alone makes them differ by as much.
const NOISE: f64 = 0.05;
/// So many long waits in a row are a queue; a single one may be a long prompt.
const A_QUEUE: u32 = 4;
/// How much of each change is made.
const SMOOTHING: f64 = 0.2;
/// Requests that may queue upstream: what lets the limit grow while nothing gets slower.
const HEADROOM: f64 = 4.0;
/// Until waits grow for the first time, each sample lets so many more run. Above 1, so that growth feeds itself while
/// nothing ends: long streams leave no room for others, and only who begins gives a sample.
const AT_FIRST: f64 = 2.0;
/// What a refusal of an upstream takes off.
const BACK_OFF: f64 = 0.9;

/// A limit on concurrency that follows the gradient between unhurried and present waits: it grows while they are alike and
/// shrinks when present ones are more than twice as long, and at once when an upstream refuses.
///
/// The steps are those of Netflix' `Gradient2Limit` (`concurrency-limits`, "Performance Under Load", 2018); what waits are
/// compared with is measured again and again at a low limit, as Envoy's adaptive concurrency filter does, since an average
/// would take an overload that lasts for normal. The multiplicative decrease on refusals is TCP's. The wait is that for
/// the first token: how long an answer is says nothing of load.
#[derive(Debug, Clone)]
pub struct Gradient {
    limit: f64,
    lowest: f64,
    highest: f64,
    /// The wait of an unhurried upstream in seconds.
    base: f64,
    /// The sum of a probe's samples, and how many it still wants.
    probe: Option<(f64, u32)>,
    samples: u32,
    /// The upstream has never been found slow, nor refused: slow start, as TCP calls it.
    starting: bool,
    /// Long waits in a row.
    long: u32,
}

impl Gradient {
    /// Begins at `limit`, and stays between the bounds.
    #[must_use]
    pub fn new(limit: usize, lowest: usize, highest: usize) -> Self {
        let probe = Some((0.0, PROBE));
        let mut gradient = Self {
            limit: limit as f64,
            lowest: 1.0,
            highest: 1.0,
            base: 0.0,
            probe,
            samples: 0,
            starting: true,
            long: 0,
        };
        gradient.bound(lowest, highest);
        gradient
    }

    /// How much may run at once. At least 1.
    #[must_use]
    pub fn limit(&self) -> usize {
        // The first probe is made by whoever comes first: there is nothing to compare with yet.
        if self.probe.is_some() && self.base > 0.0 { self.probed() as usize } else { self.limit as usize }
    }

    fn probed(&self) -> f64 {
        (self.limit * PROBE_AT).max(self.lowest).max(1.0)
    }

    /// Sets other bounds.
    pub fn bound(&mut self, lowest: usize, highest: usize) {
        self.lowest = lowest.max(1) as f64;
        self.highest = (highest as f64).max(self.lowest);
        self.limit = self.limit.clamp(self.lowest, self.highest);
    }

    /// Takes in how long a first token took while so many requests ran.
    pub fn sample(&mut self, wait: Duration, running: usize) {
        let wait = wait.as_secs_f64().max(1e-6);
        if let Some((sum, left)) = self.probe {
            // Those that were sent before the probe don't count, except for the first.
            if self.base == 0.0 || running as f64 <= self.probed() {
                let sum = sum + wait;
                self.probe = Some((sum, left - 1)).filter(|(_, left)| *left > 0);
                if self.probe.is_none() {
                    self.base = sum / f64::from(PROBE);
                    self.samples = 0;
                }
            }
            return;
        }
        self.samples += 1;
        // Nothing is learnt about a limit that is not used.
        if running as f64 >= self.limit / 2.0 {
            let gradient = ((TOLERANCE * self.base).max(NOISE) / wait).clamp(0.5, 1.0);
            self.long = if gradient < 1.0 { self.long.saturating_add(1) } else { 0 };
            self.starting &= self.long < A_QUEUE;
            let more = match (self.starting, self.long) {
                (true, 0) => AT_FIRST,
                (true, _) => 0.0,
                (false, _) => SMOOTHING * (self.limit * (gradient - 1.0) + HEADROOM),
            };
            self.limit = (self.limit + more).clamp(self.lowest, self.highest);
        }
        if self.samples >= EVERY {
            self.probe = Some((0.0, PROBE));
        }
    }

    /// Takes in that an upstream had too much to do.
    pub fn refused(&mut self) {
        self.starting = false;
        self.limit = (self.limit * BACK_OFF).clamp(self.lowest, self.highest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A server that serves `slots` at once, each in 50 ms, and queues the rest.
    fn wait(running: usize, slots: usize) -> Duration {
        Duration::from_millis(50).mul_f64((running as f64 / slots as f64).max(1.0))
    }

    #[test]
    fn the_limit_finds_a_server_s_capacity_and_finds_it_again() {
        let mut gradient = Gradient::new(20, 1, 1_000);
        let run = |gradient: &mut Gradient, slots: usize| {
            (0..20_000).for_each(|_| gradient.sample(wait(gradient.limit(), slots), gradient.limit()));
            gradient.limit()
        };
        let large = run(&mut gradient, 100);
        assert!((100..=300).contains(&large), "{large}");
        let small = run(&mut gradient, 30);
        assert!((30..=100).contains(&small), "{small}");
    }

    #[test]
    fn streams_that_do_not_end_don_t_keep_others_out_while_nothing_gets_slower() {
        let mut gradient = Gradient::new(20, 4, 4_096);
        // 1 000 begin, none ends: everybody who is let in gives one sample.
        let (mut running, mut told) = (0, 0);
        while told < running || running < gradient.limit().min(1_000) {
            running = running.max(gradient.limit().min(1_000));
            told += 1;
            gradient.sample(Duration::from_millis(50), running);
        }
        assert_eq!(running, 1_000);
    }

    #[test]
    fn a_long_wait_now_and_then_does_not_end_the_start_and_a_queue_does() {
        let mut gradient = Gradient::new(20, 4, 4_096);
        let mut take = |ms: u64, times: usize| {
            (0..times).for_each(|_| gradient.sample(Duration::from_millis(ms), gradient.limit()));
            gradient.limit()
        };
        take(1, 16);
        let mut before = 20;
        for _ in 0..10 {
            take(900, 1);
            let now = take(40, 10);
            assert_eq!(now, before + 20);
            before = now;
        }
        take(900, 4);
        assert!(take(40, 10) < before + 20);
    }

    #[test]
    fn a_limit_that_is_not_used_does_not_grow() {
        let mut gradient = Gradient::new(20, 1, 1_000);
        (0..1_000).for_each(|_| gradient.sample(Duration::from_millis(50), 3));
        assert_eq!(gradient.limit(), 20);
    }

    #[test]
    fn refusals_shrink_it_at_once() {
        let mut gradient = Gradient::new(100, 1, 1_000);
        gradient.refused();
        assert_eq!(gradient.limit(), 90);
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds(
            lowest in 0_usize..50, more in 0_usize..50, waits in prop::collection::vec(0_u64..10_000, 0..200),
        ) {
            let mut gradient = Gradient::new(20, lowest, lowest + more);
            for ms in waits {
                gradient.sample(Duration::from_millis(ms), gradient.limit());
                if ms % 7 == 0 { gradient.refused(); }
                prop_assert!((lowest.max(1)..=(lowest + more).max(1)).contains(&gradient.limit()));
            }
        }
    }
}
