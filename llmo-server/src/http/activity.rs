//! What a connection is doing, and until when it may go on doing just that.
//!
//! hyper's own header timeout runs through idle time too, does not cover the first bytes (before the HTTP version is
//! known), and closes without a word. These rules replace it: an idle connection has `idle_timeout`, one that has
//! begun to send a request has `header_timeout` to complete its headers, one with a running request has no limit here.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// State of one connection, shared by its socket, its requests and its watchdog.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    requests: usize,
    /// When the last request ended, or the connection was accepted.
    idle_since: Instant,
    /// When the first byte after that came.
    head_since: Option<Instant>,
    /// HTTP/2 has traffic of its own between requests: bytes do not mean that headers are on their way.
    multiplexed: bool,
    fresh: bool,
}

/// What a connection's deadline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// A request is running: no deadline.
    No,
    /// For the first byte of a request.
    ForRequest(Instant),
    /// For the rest of a request's headers.
    ForHeaders(Instant),
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        let state = State { requests: 0, idle_since: now, head_since: None, multiplexed: false, fresh: true };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Bytes came in.
    pub(super) fn received(&self, now: Instant) {
        let mut state = self.0.lock();
        if state.requests == 0 && !state.multiplexed && state.head_since.is_none() {
            state.head_since = Some(now);
        }
    }

    /// A request's headers are complete. It runs until the guard is dropped.
    pub(super) fn request(&self, multiplexed: bool) -> RequestGuard {
        let mut state = self.0.lock();
        state.requests += 1;
        state.head_since = None;
        state.multiplexed = multiplexed;
        state.fresh = false;
        RequestGuard(self.clone())
    }

    /// What the connection waits for, and until when.
    pub(super) fn waiting(&self, header_timeout: Duration, idle_timeout: Duration) -> Waiting {
        let state = self.0.lock();
        match (state.requests, state.head_since) {
            (0, Some(since)) => Waiting::ForHeaders(since + header_timeout),
            // Who connects and says nothing does not get the patience that a client between two requests gets.
            (0, None) if state.fresh => Waiting::ForRequest(state.idle_since + header_timeout.min(idle_timeout)),
            (0, None) => Waiting::ForRequest(state.idle_since + idle_timeout),
            _ => Waiting::No,
        }
    }
}

/// A running request; dropped when its response has been sent, or nobody waits for it any more.
#[derive(Debug)]
pub(super) struct RequestGuard(Activity);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            state.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    #[tokio::test(start_paused = true)]
    async fn the_header_deadline_counts_from_the_first_byte_and_later_bytes_do_not_extend_it() {
        let start = Instant::now();
        let activity = Activity::new(start);
        activity.received(start + Duration::from_secs(1));
        activity.received(start + Duration::from_secs(9));
        assert_eq!(activity.waiting(HEADER, IDLE), Waiting::ForHeaders(start + Duration::from_secs(11)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_request_has_no_deadline_and_an_idle_connection_has_the_idle_one() {
        let start = Instant::now();
        let activity = Activity::new(start);
        let guard = activity.request(false);
        activity.received(start);
        assert_eq!(activity.waiting(HEADER, IDLE), Waiting::No);
        tokio::time::advance(Duration::from_secs(100)).await;
        drop(guard);
        assert_eq!(activity.waiting(HEADER, IDLE), Waiting::ForRequest(Instant::now() + IDLE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_connects_and_says_nothing_has_the_header_deadline() {
        let start = Instant::now();
        assert_eq!(Activity::new(start).waiting(HEADER, IDLE), Waiting::ForRequest(start + HEADER));
    }
}
