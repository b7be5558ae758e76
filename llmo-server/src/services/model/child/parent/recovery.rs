//! When an engine that died is started again. Pure: the caller says what time it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::options::ChildOptions;

/// The wait before a second start in a row; it doubles.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Longest quarantine.
const LONGEST: Duration = Duration::from_secs(600);

/// What to do after a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start it again after this wait.
    Restart(Duration),
    /// It keeps dying: leave it alone for so long, then try once.
    Quarantine(Duration),
}

impl Next {
    /// How long until the next start.
    pub(super) fn wait(self) -> Duration {
        match self {
            Self::Restart(wait) | Self::Quarantine(wait) => wait,
        }
    }
}

/// An engine's history of deaths.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Within the window; the oldest first.
    deaths: VecDeque<Instant>,
    /// Quarantines in a row.
    quarantines: u32,
}

impl Recovery {
    /// Takes in a death of a process that lived since `born`.
    pub(super) fn died(&mut self, born: Instant, now: Instant, options: &ChildOptions) -> Next {
        // Half open: whoever comes out of quarantine has to live through a whole window.
        let on_trial = self.quarantines > 0;
        if on_trial && now.saturating_duration_since(born) >= options.window {
            self.quarantines = 0;
        }
        self.deaths.retain(|&at| now.saturating_duration_since(at) < options.window);
        self.deaths.push_back(now);
        let failed_trial = self.quarantines > 0;
        if failed_trial || self.deaths.len() >= options.deaths as usize {
            let wait = options.quarantine.saturating_mul(1 << self.quarantines.min(16)).min(LONGEST);
            self.quarantines = self.quarantines.saturating_add(1);
            self.deaths.clear();
            return Next::Quarantine(wait);
        }
        // The first restart waits for nothing: a single death is usually bad luck.
        let before = self.deaths.len().saturating_sub(1);
        let wait = if before == 0 { Duration::ZERO } else { BACK_OFF.saturating_mul(1 << (before - 1).min(16)) };
        Next::Restart(wait.min(options.window / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_restart_is_immediate_and_the_next_ones_wait_longer_each_time() {
        let (mut recovery, options, now) = (Recovery::default(), ChildOptions::default(), Instant::now());
        let waits: Vec<_> = (0..4).map(|n| recovery.died(now, now + SECOND * n, &options)).collect();
        assert_eq!(waits, [0, 100, 200, 400].map(|ms| Next::Restart(Duration::from_millis(ms))));
    }

    #[test]
    fn five_deaths_in_a_minute_are_quarantine() {
        let (mut recovery, options, now) = (Recovery::default(), ChildOptions::default(), Instant::now());
        for n in 0..4 {
            assert!(matches!(recovery.died(now, now + SECOND * (n * 14), &options), Next::Restart(_)));
        }
        assert_eq!(recovery.died(now, now + SECOND * 56, &options), Next::Quarantine(SECOND * 60));
    }

    #[test]
    fn deaths_far_apart_are_not() {
        let (mut recovery, options, now) = (Recovery::default(), ChildOptions::default(), Instant::now());
        for n in 0..100 {
            assert!(matches!(recovery.died(now, now + SECOND * (n * 16), &options), Next::Restart(_)));
        }
    }

    #[test]
    fn after_a_quarantine_one_death_is_enough_until_it_has_lived_for_a_while() {
        let (mut recovery, options, now) = (Recovery::default(), ChildOptions::default(), Instant::now());
        for _ in 0..5 {
            recovery.died(now, now, &options);
        }
        let born = now + SECOND * 60;
        assert_eq!(recovery.died(born, born + SECOND, &options), Next::Quarantine(SECOND * 120));
        let born = born + SECOND * 120;
        assert_eq!(recovery.died(born, born + SECOND, &options), Next::Quarantine(SECOND * 240));
        let born = born + SECOND * 300;
        assert_eq!(recovery.died(born, born + SECOND * 61, &options), Next::Restart(Duration::ZERO));
    }

    #[test]
    fn quarantine_grows_to_ten_minutes_and_no_further() {
        let (mut recovery, options, now) = (Recovery::default(), ChildOptions::default(), Instant::now());
        let longest = (0..1000).map(|_| recovery.died(now, now, &options).wait()).max();
        assert_eq!(longest, Some(LONGEST));
    }
}
