//! Outlier ejection: a replica that fails request after request is left out for a while, longer each time.

use std::time::{Duration, Instant};

/// When to eject, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutlierOptions {
    /// So many failed requests in a row eject.
    pub failures: u32,
    /// The first ejection; each further one is twice as long…
    pub base: Duration,
    /// …but never longer than this.
    pub longest: Duration,
}

impl Default for OutlierOptions {
    fn default() -> Self {
        Self { failures: 5, base: Duration::from_secs(2), longest: Duration::from_secs(60) }
    }
}

/// A replica's history of ejections. Pure: the caller says what time it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outlier {
    ejections: u32,
    until: Option<Instant>,
}

impl Outlier {
    /// Leaves the replica out; returns for how long.
    pub fn eject(&mut self, now: Instant, options: &OutlierOptions) -> Duration {
        self.forgive(now, options);
        let doublings = self.ejections.min(16);
        let length = options.base.saturating_mul(1 << doublings).min(options.longest);
        self.ejections = self.ejections.saturating_add(1);
        self.until = now.checked_add(length);
        length
    }

    /// The instant at which the current ejection ends.
    #[must_use]
    pub fn ejected_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// When the last ejection ended, if it has.
    #[must_use]
    pub fn released_at(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until <= now)
    }

    /// Was it ejected lately, and has not behaved well for long since?
    #[must_use]
    pub fn has_record(&self, now: Instant, options: &OutlierOptions) -> bool {
        let mut record = self.clone();
        record.forgive(now, options);
        record.ejections > 0
    }

    /// Good behaviour for the longest ejection's time takes one ejection off the record, and so on.
    fn forgive(&mut self, now: Instant, options: &OutlierOptions) {
        let Some(good_since) = self.released_at(now) else { return };
        let periods = now.duration_since(good_since).as_nanos() / options.longest.as_nanos().max(1);
        self.ejections = self.ejections.saturating_sub(u32::try_from(periods).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: OutlierOptions =
        OutlierOptions { failures: 5, base: Duration::from_secs(2), longest: Duration::from_secs(60) };

    #[test]
    fn ejections_grow_and_are_capped() {
        let mut now = Instant::now();
        let mut outlier = Outlier::default();
        let lengths: Vec<u64> = (0..8)
            .map(|_| {
                let length = outlier.eject(now, &OPTIONS);
                assert!(outlier.ejected_until(now).is_some());
                now += length;
                assert!(outlier.ejected_until(now).is_none(), "it ends on time");
                length.as_secs()
            })
            .collect();
        assert_eq!(lengths, [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn good_behaviour_is_rewarded() {
        let mut now = Instant::now();
        let mut outlier = Outlier::default();
        for _ in 0..3 {
            now += outlier.eject(now, &OPTIONS);
        }
        assert!(outlier.has_record(now, &OPTIONS));
        now += 10 * OPTIONS.longest;
        assert!(!outlier.has_record(now, &OPTIONS));
        assert_eq!(outlier.eject(now, &OPTIONS), OPTIONS.base);
    }
}
