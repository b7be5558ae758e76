//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// Waits until `condition` holds; panics with `what` after ten seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < end, "waited ten seconds in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
