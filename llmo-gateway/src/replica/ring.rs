//! A consistent hash ring.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Points of all replicas together, as long as there are few replicas: more make shares more even.
const POINTS: usize = 1 << 16;
const MOST_POINTS: usize = 160;
const FEWEST_POINTS: usize = 4;

/// Replicas on a circle of hashes, each in many places: a key belongs to whoever comes next on the circle. A replica that
/// comes or goes moves only its own keys. Places follow from ids alone, so all gateways agree.
///
/// Karger et al., "Consistent Hashing and Random Trees", 1997.
#[derive(Debug, Default)]
pub struct Ring {
    /// Sorted.
    points: Vec<(u64, u32)>,
}

impl Ring {
    /// A ring of replicas, given by id and serial.
    #[must_use]
    pub fn new<'a>(replicas: impl ExactSizeIterator<Item = (&'a str, u32)>) -> Self {
        let each = (POINTS / replicas.len().max(1)).clamp(FEWEST_POINTS, MOST_POINTS);
        let mut points = Vec::with_capacity(replicas.len() * each);
        for (id, serial) in replicas {
            points.extend((0..each).map(|i| (xxh3_64_with_seed(id.as_bytes(), i as u64), serial)));
        }
        points.sort_unstable();
        Self { points }
    }

    /// The serials of the replicas from a key on, once around. One replica comes again and again.
    pub fn walk(&self, key: u64) -> impl Iterator<Item = u32> {
        let start = self.points.partition_point(|(point, _)| *point < key);
        self.points[start..].iter().chain(&self.points[..start]).map(|(_, serial)| *serial)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(ids: &[String]) -> Ring {
        Ring::new(ids.iter().enumerate().map(|(i, id)| (id.as_str(), i as u32)))
    }

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("10.0.0.{i}:8081")).collect()
    }

    proptest! {
        #[test]
        fn a_replica_that_joins_takes_keys_and_moves_no_others(n in 1_usize..40, keys in prop::collection::vec(any::<u64>(), 100)) {
            let all = ids(n + 1);
            let (before, after) = (ring(&all[..n]), ring(&all));
            for key in keys {
                let (was, is) = (before.walk(key).next(), after.walk(key).next());
                prop_assert!(is == was || is == Some(n as u32), "{was:?} became {is:?}");
            }
        }

        #[test]
        fn a_walk_meets_everybody(n in 1_usize..40, key in any::<u64>()) {
            let mut met: Vec<u32> = ring(&ids(n)).walk(key).collect();
            met.sort_unstable();
            met.dedup();
            prop_assert_eq!(met.len(), n);
        }
    }

    #[test]
    fn shares_are_about_even() {
        let ring = ring(&ids(10));
        let mut shares = [0_u32; 10];
        for key in 0..10_000_u64 {
            shares[ring.walk(xxh3_64_with_seed(&key.to_le_bytes(), 7)).next().expect("not empty") as usize] += 1;
        }
        assert!(shares.iter().all(|n| (700..1_400).contains(n)), "{shares:?}");
    }

    #[test]
    fn nobody_is_on_an_empty_ring() {
        assert_eq!(Ring::default().walk(5).next(), None);
    }
}
