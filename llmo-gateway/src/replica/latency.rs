//! A lock-free moving average of latencies that forgets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Weight of a new sample.
const ALPHA: f32 = 0.3;
/// Without new samples the estimate halves in this time, so that a replica that was slow once is tried again.
const HALF_LIFE: Duration = Duration::from_secs(5);

/// Exponentially weighted moving average of a latency. Zero until the first sample.
///
/// The estimate (seconds, `f32`) and the time of the last sample (tenths of a second since creation) share one atomic
/// word: a reader never sees one without the other.
#[derive(Debug)]
pub struct Latency {
    since: Instant,
    packed: AtomicU64,
}

impl Latency {
    /// No samples yet; `now` is the zero of its clock.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { since: now, packed: AtomicU64::new(0) }
    }

    /// Takes a sample in.
    pub fn record(&self, sample: Duration, now: Instant) {
        let at = self.tenths(now);
        let sample = sample.as_secs_f32();
        // Only the newest state matters: losing a race costs a retry, never a wrong value.
        let _ = self.packed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
            let before = decayed(packed, at);
            let after = if packed == 0 { sample } else { before + ALPHA * (sample - before) };
            Some(pack(after, at))
        });
    }

    /// The estimate as of `now`.
    #[must_use]
    pub fn estimate(&self, now: Instant) -> Duration {
        Duration::from_secs_f32(decayed(self.packed.load(Ordering::Relaxed), self.tenths(now)))
    }

    fn tenths(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.since).as_millis() / 100).unwrap_or(u32::MAX)
    }
}

fn pack(estimate: f32, at: u32) -> u64 {
    (u64::from(estimate.to_bits()) << 32) | u64::from(at)
}

#[expect(clippy::cast_possible_truncation, reason = "takes the two halves of the word apart")]
fn decayed(packed: u64, now: u32) -> f32 {
    let estimate = f32::from_bits((packed >> 32) as u32);
    let idle = now.saturating_sub(packed as u32) as f32 / 10.0;
    let value = estimate * (-idle / HALF_LIFE.as_secs_f32()).exp2();
    // A sample can't be longer than a day: keeps `Duration::from_secs_f32` from ever seeing something it refuses.
    value.clamp(0.0, 86_400.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_is_the_estimate() {
        let now = Instant::now();
        let latency = Latency::new(now);
        assert_eq!(latency.estimate(now), Duration::ZERO);
        latency.record(Duration::from_millis(200), now);
        assert!((latency.estimate(now).as_secs_f64() - 0.2).abs() < 1e-6);
    }

    #[test]
    fn the_estimate_follows_samples() {
        let now = Instant::now();
        let latency = Latency::new(now);
        for _ in 0..20 {
            latency.record(Duration::from_millis(10), now);
        }
        for _ in 0..20 {
            latency.record(Duration::from_millis(500), now);
        }
        assert!(latency.estimate(now) > Duration::from_millis(450));
    }

    #[test]
    fn an_idle_estimate_halves_every_half_life() {
        let now = Instant::now();
        let latency = Latency::new(now);
        latency.record(Duration::from_millis(800), now);
        let later = latency.estimate(now + 3 * HALF_LIFE).as_secs_f64();
        assert!((later - 0.1).abs() < 0.005, "{later}");
    }
}
