//! Token buckets, one for each tenant.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Tenants that are remembered. A full bucket is no memory worth keeping; beyond that the fullest are forgotten.
const MOST: usize = 10_000;

/// A bucket for each tenant that fills evenly and holds a minute's worth.
#[derive(Debug)]
pub struct Buckets {
    capacity: f64,
    a_second: f64,
    levels: HashMap<String, (f64, Instant)>,
}

impl Buckets {
    /// So much for each in a minute.
    #[must_use]
    pub fn new(per_minute: u64) -> Self {
        let capacity = per_minute.max(1) as f64;
        Self { capacity, a_second: capacity / 60.0, levels: HashMap::new() }
    }

    /// Takes so much from a tenant's bucket; more than it ever holds only from a full one, which is in debt then.
    ///
    /// # Errors
    /// The time until there is enough.
    pub fn take(&mut self, tenant: &str, amount: u64, now: Instant) -> Result<(), Duration> {
        let amount = amount as f64;
        let level = self.level(tenant, now);
        if level < amount.min(self.capacity) {
            let missing = amount.min(self.capacity) - level;
            return Err(Duration::from_secs_f64(missing / self.a_second));
        }
        if self.levels.len() >= MOST && !self.levels.contains_key(tenant) {
            self.forget(now);
        }
        self.levels.insert(tenant.to_owned(), (level - amount, now));
        Ok(())
    }

    fn level(&self, tenant: &str, now: Instant) -> f64 {
        let filled =
            |&(level, at): &(f64, Instant)| level + now.saturating_duration_since(at).as_secs_f64() * self.a_second;
        self.levels.get(tenant).map_or(self.capacity, filled).min(self.capacity)
    }

    fn forget(&mut self, now: Instant) {
        let (capacity, a_second) = (self.capacity, self.a_second);
        let filled = |level: f64, at: Instant| level + now.saturating_duration_since(at).as_secs_f64() * a_second;
        self.levels.retain(|_, (level, at)| filled(*level, *at) < capacity);
        if self.levels.len() >= MOST {
            let fullest = self.levels.iter().max_by(|a, b| filled(a.1.0, a.1.1).total_cmp(&filled(b.1.0, b.1.1)));
            if let Some(name) = fullest.map(|(name, _)| name.clone()) {
                self.levels.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_minute_s_worth_and_then_what_comes_anew() {
        let mut now = Instant::now();
        let mut buckets = Buckets::new(600);
        assert_eq!(buckets.take("a", 600, now), Ok(()));
        assert_eq!(buckets.take("a", 10, now), Err(Duration::from_secs(1)));
        assert_eq!(buckets.take("b", 600, now), Ok(()), "tenants don't share");
        now += Duration::from_secs(2);
        assert_eq!(buckets.take("a", 20, now), Ok(()));
        assert!(buckets.take("a", 1, now).is_err());
    }

    #[test]
    fn what_no_bucket_holds_passes_once_and_is_paid_for() {
        let now = Instant::now();
        let mut buckets = Buckets::new(60);
        assert_eq!(buckets.take("a", 120, now), Ok(()));
        assert!(buckets.take("a", 1, now + Duration::from_secs(60)).is_err());
        assert_eq!(buckets.take("a", 1, now + Duration::from_secs(62)), Ok(()));
    }

    #[test]
    fn endless_names_are_forgotten() {
        let now = Instant::now();
        let mut buckets = Buckets::new(60);
        (0..MOST + 50).for_each(|i| assert!(buckets.take(&i.to_string(), 1, now).is_ok()));
        assert!(buckets.levels.len() <= MOST);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_limit(asks in prop::collection::vec((1_u64..100, 0_u64..2_000), 1..200)) {
            let begun = Instant::now();
            let (mut now, mut taken) = (begun, 0);
            let mut buckets = Buckets::new(600);
            for (amount, pause_ms) in asks {
                now += Duration::from_millis(pause_ms);
                if buckets.take("a", amount, now).is_ok() {
                    taken += amount;
                }
            }
            prop_assert!(taken as f64 <= 600.0 + now.duration_since(begun).as_secs_f64() * 10.0 + 1e-6);
        }
    }
}
