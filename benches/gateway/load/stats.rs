//! Percentiles.

use std::time::Duration;

use serde_json::{Value, json};

/// Median, 90th, 99th percentile and the largest, in microseconds.
pub(crate) fn summary(mut samples: Vec<Duration>) -> Value {
    samples.sort_unstable();
    let at = |share: f64| {
        let index = ((samples.len() as f64 * share).ceil() as usize).saturating_sub(1);
        samples.get(index).map(|sample| sample.as_secs_f64() * 1e6)
    };
    json!({"count": samples.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)})
}
