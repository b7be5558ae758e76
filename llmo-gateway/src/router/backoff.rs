//! The wait before a retry.

use std::time::Duration;

use fastrand::Rng;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(200);

/// The wait before retry number `retry` (from 1): chosen by chance from the upper half of a span that doubles each
/// time. Small, since another replica is asked, not the same one again.
pub(super) fn before_retry(retry: u32, rng: &mut Rng) -> Duration {
    let span = FIRST.saturating_mul(1 << retry.saturating_sub(1).min(10)).min(LONGEST);
    span.mul_f64(0.5 + 0.5 * rng.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_their_bounds() {
        let mut rng = Rng::with_seed(1);
        for retry in 1..40 {
            let wait = before_retry(retry, &mut rng);
            assert!(wait >= FIRST / 2 && wait <= LONGEST, "{wait:?}");
        }
    }
}
