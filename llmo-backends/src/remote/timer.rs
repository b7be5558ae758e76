//! One timer for many waits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// A timer that costs nothing until something is waited for. A limit that moves on, as that of the next token does, is
/// looked at only when the timer fires for the one before it.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once `until` has passed.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if until < sleep.deadline() {
            sleep.as_mut().reset(until);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if until <= sleep.deadline() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_ready_when_the_last_limit_has_passed_and_not_before() {
        let start = Instant::now();
        let mut timer = Timer::default();
        let mut polled = poll_fn(|cx| Poll::Ready(timer.poll_until(cx, start + Duration::from_secs(9)))).await;
        assert!(polled.is_pending());
        for seconds in [20, 30, 25, 26] {
            polled = poll_fn(|cx| Poll::Ready(timer.poll_until(cx, start + Duration::from_secs(seconds)))).await;
            assert!(polled.is_pending());
        }
        poll_fn(|cx| timer.poll_until(cx, start + Duration::from_secs(28))).await;
        assert_eq!(start.elapsed().as_secs(), 28);
        poll_fn(|cx| timer.poll_until(cx, start + Duration::from_secs(29))).await;
        assert_eq!(start.elapsed().as_secs(), 29);
    }
}
