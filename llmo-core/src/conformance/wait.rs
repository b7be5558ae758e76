//! Waiting with a bound.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// Between two looks at a condition.
const STEP: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; panics after `limit`.
pub(super) async fn until(rule: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < end, "{rule}: not within {limit:?}");
        tokio::time::sleep(STEP).await;
    }
}

/// The future's value; panics after `limit`.
pub(super) async fn in_time<T>(rule: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{rule}: nothing within {limit:?}"),
    }
}

/// The value; panics with the error.
#[track_caller]
pub(super) fn ok<T, E: Debug>(rule: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{rule}: {error:?}"),
    }
}

/// The error; panics if there is none.
#[track_caller]
pub(super) fn refused<T, E>(rule: &str, result: Result<T, E>) -> E {
    match result {
        Ok(_) => panic!("{rule}: it was accepted"),
        Err(error) => error,
    }
}
