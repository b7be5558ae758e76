//! How likely what a slot holds is used again.

use std::time::{Duration, Instant};

/// After this time without use, a use counts half.
const HALF_LIFE: Duration = Duration::from_secs(300);

/// Uses of a sequence's contents, each counting less with its age.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Worth {
    uses: f64,
    at: Instant,
}

impl Worth {
    /// Something that was just computed: one use.
    pub(in super::super) fn new(now: Instant) -> Self {
        Self { uses: 1.0, at: now }
    }

    /// It was used by another request.
    pub(in super::super) fn used(&mut self, now: Instant) {
        *self = Self { uses: self.aged(now) + 1.0, at: now };
    }

    /// A guess at the probability that it is used again: 1/2 for what is new, more with each use, less with age.
    pub(in super::super) fn chance(&self, now: Instant) -> f64 {
        let uses = self.aged(now);
        uses / (1.0 + uses)
    }

    fn aged(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        self.uses * 0.5_f64.powf(age / HALF_LIFE.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_add_and_age_takes_away() {
        let start = Instant::now();
        let mut often = Worth::new(start);
        let once = Worth::new(start);
        assert!((once.chance(start) - 0.5).abs() < 1e-9);
        for _ in 0..5 {
            often.used(start);
        }
        assert!(often.chance(start) > once.chance(start));
        let later = start + 2 * HALF_LIFE;
        assert!(often.chance(later) < often.chance(start));
        // What was used often and long ago is worth more than what was used once and less long ago.
        assert!(often.chance(later) > once.chance(start));
        assert!(often.chance(start + 20 * HALF_LIFE) < 0.001);
    }
}
