//! Replicas that begin to answer much later than others do.
//!
//! Policies look at latencies where they can, but not all of them, and a replica that is slow and empty still draws requests.
//! So one whose first tokens come far later than those of the others is ejected like one that fails ([`Outlier`]): for a
//! while, longer each time, and comes back with one request at a time until one shows that it is quick again.
//!
//! What is compared is what the prompt does not explain: a long prompt takes long everywhere, and more so where none of it is
//! cached.
//!
//! [`Outlier`]: super::Outlier

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Waits that are kept: the latest.
const KEPT: usize = 16;
/// Older ones say nothing any more.
const RECENT: Duration = Duration::from_secs(10);
/// What a token of a prompt may take, on a slow processor and with nothing cached.
const PROMPT_TOKEN: Duration = Duration::from_millis(2);

/// When a replica is an outlier.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SlowOptions {
    /// Its median is above so many times that of the others…
    pub times: f64,
    /// …and so much above it.
    pub margin: Duration,
    /// With fewer waits nobody knows, here or there.
    pub samples: usize,
    /// Of one that was ejected lately, so few are enough.
    pub samples_again: usize,
}

impl Default for SlowOptions {
    fn default() -> Self {
        Self { times: 3.0, margin: Duration::from_millis(200), samples: 5, samples_again: 1 }
    }
}

/// How long first tokens of one model took at one replica lately, beyond what their prompts explain. Taken in without a lock:
/// a reader may miss the newest, never see what was not.
#[derive(Debug)]
pub struct Waits {
    since: Instant,
    /// The wait in milliseconds, and behind it when it ended, in milliseconds, from 1; 0: none.
    kept: [AtomicU64; KEPT],
    next: AtomicUsize,
}

/// The waits of one replica as one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Typical {
    /// The median.
    pub wait: Duration,
    /// Of so many.
    pub samples: usize,
}

impl Waits {
    /// None yet; `now` is the zero of its clock.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { since: now, kept: std::array::from_fn(|_| AtomicU64::new(0)), next: AtomicUsize::new(0) }
    }

    /// What of a wait a prompt of so many tokens does not explain.
    #[must_use]
    pub fn unexplained(wait: Duration, prompt_tokens: u64) -> Duration {
        wait.saturating_sub(PROMPT_TOKEN.saturating_mul(u32::try_from(prompt_tokens).unwrap_or(u32::MAX)))
    }

    /// Takes one in.
    pub fn record(&self, wait: Duration, now: Instant) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        let place = self.next.fetch_add(1, Ordering::Relaxed) % KEPT;
        self.kept[place].store(millis << 32 | self.millis(now), Ordering::Relaxed);
    }

    /// The median of those that are recent; `None` without any.
    #[must_use]
    pub fn typical(&self, now: Instant) -> Option<Typical> {
        let oldest = self.millis(now).saturating_sub(u64::try_from(RECENT.as_millis()).unwrap_or(u64::MAX));
        let (mut recent, mut samples) = ([0_u64; KEPT], 0);
        for kept in &self.kept {
            let kept = kept.load(Ordering::Relaxed);
            if kept & u64::from(u32::MAX) > oldest {
                recent[samples] = kept >> 32;
                samples += 1;
            }
        }
        let recent = recent.get_mut(..samples).filter(|recent| !recent.is_empty())?;
        let (_, median, _) = recent.select_nth_unstable((samples - 1) / 2);
        Some(Typical { wait: Duration::from_millis(*median), samples })
    }

    /// Forgets them: what comes from now on is judged by itself.
    pub fn clear(&self) {
        self.kept.iter().for_each(|kept| kept.store(0, Ordering::Relaxed));
    }

    /// At least 1.
    fn millis(&self, now: Instant) -> u64 {
        let millis = u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        millis.saturating_add(1).min(u64::from(u32::MAX))
    }
}

/// Is `own` far above what is typical of the others? `before`: it was ejected lately.
#[must_use]
pub fn is_slow(own: Typical, others: &[Typical], before: bool, options: &SlowOptions) -> bool {
    let enough = if before { options.samples_again } else { options.samples };
    if own.samples < enough || own.wait <= options.margin {
        return false;
    }
    let mut known: Vec<Duration> =
        others.iter().filter(|other| other.samples >= options.samples).map(|other| other.wait).collect();
    if known.is_empty() {
        return false;
    }
    // The upper one of two: so more than half can't be slow.
    let middle = known.len() / 2;
    let (_, typical, _) = known.select_nth_unstable(middle);
    own.wait > *typical + options.margin && own.wait.as_secs_f64() > typical.as_secs_f64() * options.times
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typical(ms: u64, samples: usize) -> Typical {
        Typical { wait: Duration::from_millis(ms), samples }
    }

    #[test]
    fn half_a_second_more_than_the_others_is_slow_and_a_little_more_is_not() {
        let options = SlowOptions::default();
        let others = [typical(40, 9), typical(60, 9), typical(50, 9)];
        let slow = |ms, samples, before| is_slow(typical(ms, samples), &others, before, &options);
        assert!(slow(550, 5, false));
        assert!(!slow(550, 4, false), "too few to know");
        assert!(slow(550, 1, true), "it has a record");
        assert!(!slow(240, 16, false), "that may be chance");
        assert!(!is_slow(typical(1_300, 16), &[typical(500, 16)], false, &options), "they are all slow");
        assert!(!is_slow(typical(900, 16), &[], false, &options), "there is nobody to compare with");
        assert!(!is_slow(typical(900, 16), &[typical(1, 1)], false, &options), "there is hardly anybody");
    }

    #[test]
    fn only_the_latest_of_the_last_seconds_count() {
        let begun = Instant::now();
        let waits = Waits::new(begun);
        assert_eq!(waits.typical(begun), None);
        (0..10).for_each(|_| waits.record(Duration::from_millis(900), begun));
        assert_eq!(waits.typical(begun), Some(typical(900, 10)));
        let later = begun + RECENT / 2;
        (0..KEPT).for_each(|_| waits.record(Duration::from_millis(30), later));
        assert_eq!(waits.typical(later), Some(typical(30, KEPT)));
        assert_eq!(waits.typical(later + RECENT + Duration::from_millis(1)), None);
        waits.clear();
        assert_eq!(waits.typical(later), None);
    }

    #[test]
    fn a_long_prompt_explains_a_long_wait() {
        assert_eq!(Waits::unexplained(Duration::from_secs(4), 4_000), Duration::ZERO);
        assert_eq!(Waits::unexplained(Duration::from_millis(540), 20), Duration::from_millis(500));
        assert_eq!(Waits::unexplained(Duration::from_secs(1), u64::MAX), Duration::ZERO);
    }

    proptest! {
        /// Whatever the fleet looks like: at most half of it, and never the quickest, can be slow.
        #[test]
        fn never_more_than_half_are_slow(waits in prop::collection::vec((0_u64..5_000, 0_usize..17), 1..12)) {
            let fleet: Vec<_> = waits.iter().map(|(ms, samples)| typical(*ms, *samples)).collect();
            let options = SlowOptions::default();
            let slow: Vec<usize> = (0..fleet.len()).filter(|&i| {
                let others: Vec<_> =
                    fleet.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| *other).collect();
                is_slow(fleet[i], &others, false, &options)
            }).collect();
            prop_assert!(slow.len() * 2 <= fleet.len(), "{slow:?} of {fleet:?}");
            let quickest = fleet.iter().map(|one| one.wait).min();
            prop_assert!(slow.iter().all(|&i| Some(fleet[i].wait) != quickest));
        }

        /// Who is slower still is slow too, and where others are slower as well, nobody is slow who was not.
        #[test]
        fn it_is_monotonous(own in 0_u64..3_000, more in 0_u64..3_000, others in prop::collection::vec(0_u64..3_000, 1..9)) {
            let options = SlowOptions::default();
            let of = |shift: u64| others.iter().map(|ms| typical(*ms + shift, 9)).collect::<Vec<_>>();
            let slow = is_slow(typical(own, 9), &of(0), false, &options);
            prop_assert!(!slow || is_slow(typical(own + more, 9), &of(0), false, &options));
            prop_assert!(slow || !is_slow(typical(own, 9), &of(more), false, &options));
        }
    }
}
