//! The stages of a server's end.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use tokio_util::sync::CancellationToken;

/// How far a server is on its way down. [`Arrival`](super::Arrival) has it. Clones are the same.
///
/// The stages come in this order: *draining* (not ready any more, everything else goes on), *finishing* (no new
/// connections or requests), *closing* (what still runs is ended with a typed error), and then the sockets close.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle(Arc<Stages>);

#[derive(Debug, Default)]
struct Stages {
    draining: CancellationToken,
    finishing: Stage,
    closing: Stage,
    aborting: Stage,
}

/// Something that every request and connection watches for, and that comes once.
#[derive(Debug, Default)]
struct Stage {
    come: AtomicBool,
    token: CancellationToken,
}

impl Stage {
    fn reach(&self) {
        self.come.store(true, Ordering::Release);
        self.token.cancel();
    }

    fn is_reached(&self) -> bool {
        self.come.load(Ordering::Acquire)
    }

    /// Waits for it. This is polled with every poll of a connection, and the token's own future takes a lock each time: so it is
    /// asked only where there is something to find out.
    async fn reached(&self) {
        let (mut cancelled, mut registered) = (pin!(self.token.cancelled()), None::<Waker>);
        poll_fn(|cx| {
            if self.is_reached() {
                return Poll::Ready(());
            }
            // Should it come from here on, whoever is registered is woken.
            if registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            registered = Some(cx.waker().clone());
            cancelled.as_mut().poll(cx)
        })
        .await;
    }
}

impl Lifecycle {
    /// A server that drains when `shutdown` is cancelled.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Self {
        Self(Arc::new(Stages { draining: shutdown, ..Stages::default() }))
    }

    /// Has the shutdown begun? Then the service is not ready any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Waits until the shutdown begins.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Waits until requests that still run have to end now.
    pub async fn closing(&self) {
        self.0.closing.reached().await;
    }

    /// Do requests that still run have to end now?
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.0.closing.is_reached()
    }

    pub(super) async fn finishing(&self) {
        self.0.finishing.reached().await;
    }

    pub(super) async fn aborting(&self) {
        self.0.aborting.reached().await;
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.0.finishing.is_reached()
    }

    pub(super) fn finish(&self) {
        self.0.finishing.reach();
    }

    pub(super) fn close(&self) {
        self.0.closing.reach();
    }

    pub(super) fn abort(&self) {
        self.0.aborting.reach();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_a_stage_learns_of_it_on_whichever_task_it_is_polled() {
        let lifecycle = Lifecycle::default();
        let waiting = lifecycle.clone();
        let mut closing = Box::pin(async move { waiting.closing().await });
        // Here first, then on a task of its own.
        assert!((&mut closing).now_or_never().is_none());
        let elsewhere = tokio::spawn(closing);
        tokio::task::yield_now().await;
        assert!(!lifecycle.is_closing());
        lifecycle.close();
        elsewhere.await.unwrap();
        assert!(lifecycle.is_closing());
        lifecycle.closing().await;
    }
}
