//! How long to wait for an upstream: the request's deadline, the first token, the next token.

use std::future::Future;
use std::time::Duration;

use llmo_core::model::{ModelError, Result};
use tokio::time::Instant;

use super::options::RemoteOptions;

/// The limits of one request.
#[derive(Debug, Clone)]
pub struct Patience {
    deadline: Option<Instant>,
    enforced: bool,
    first: Option<Duration>,
    idle: Option<Duration>,
    /// When waiting for the next token began: with the request, later whenever the caller asks for more.
    since: Instant,
    started: bool,
}

impl Patience {
    /// Begins now.
    ///
    /// # Errors
    /// [`ModelError::DeadlineExceeded`] if the deadline has passed already.
    pub fn new(options: &RemoteOptions, deadline: Option<std::time::Instant>, now: Instant) -> Result<Self> {
        let deadline = deadline.map(Instant::from_std);
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(ModelError::DeadlineExceeded { stage: "before the request was sent".into() });
        }
        let (first, idle) = (options.first_token_timeout, options.idle_timeout);
        Ok(Self { deadline, enforced: options.enforce_deadline, first, idle, since: now, started: false })
    }

    /// A token came.
    pub fn token(&mut self, now: Instant) {
        self.since = now;
        self.started = true;
    }

    /// The next token is waited for from now on, if one has come already.
    pub fn ask(&mut self, now: Instant) {
        if self.started {
            self.since = now;
        }
    }

    /// [`token`](Self::token), at this time. Without a limit for tokens the clock, which costs more than the rest, isn't
    /// read.
    pub(super) fn token_now(&mut self) {
        if self.counts_time() {
            self.since = Instant::now();
        }
        self.started = true;
    }

    /// [`ask`](Self::ask), at this time.
    pub(super) fn ask_now(&mut self) {
        if self.started && self.counts_time() {
            self.since = Instant::now();
        }
    }

    fn counts_time(&self) -> bool {
        self.first.is_some() || self.idle.is_some()
    }

    /// What is left until the deadline, for the upstream to know; at least one millisecond.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        Some(self.deadline?.saturating_duration_since(now).max(Duration::from_millis(1)))
    }

    /// Waits for `what`, as long as patience lasts.
    ///
    /// # Errors
    /// [`ModelError::DeadlineExceeded`], or [`ModelError::Upstream`] if no token came in time.
    pub async fn wait<T>(&self, what: impl Future<Output = T> + Send) -> Result<T> {
        match self.until() {
            Some(until) => tokio::time::timeout_at(until, what).await.map_err(|_| self.exhausted()),
            None => Ok(what.await),
        }
    }

    fn allowed(&self) -> Option<Duration> {
        if self.started { self.idle } else { self.first }
    }

    /// When patience ends, as things are.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        let token = self.allowed().and_then(|allowed| self.since.checked_add(allowed));
        [self.deadline.filter(|_| self.enforced), token].into_iter().flatten().min()
    }

    /// The error at that time.
    #[must_use]
    pub fn exhausted(&self) -> ModelError {
        if self.deadline.is_some() && self.until() == self.deadline {
            let stage = if self.started { "while generating" } else { "before the first token" };
            return ModelError::DeadlineExceeded { stage: stage.into() };
        }
        let seconds = self.allowed().unwrap_or_default().as_secs_f32();
        let which = if self.started { "next" } else { "first" };
        let message = format!("the {which} token did not come within {seconds} s");
        ModelError::Upstream { message, started: self.started }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(deadline: Option<u64>) -> Result<Patience> {
        let options = RemoteOptions {
            first_token_timeout: Some(Duration::from_secs(10)),
            idle_timeout: Some(Duration::from_secs(2)),
            ..RemoteOptions::default()
        };
        let now = Instant::now();
        Patience::new(&options, deadline.map(|s| (now + Duration::from_secs(s)).into_std()), now)
    }

    async fn fails_after(patience: &Patience) -> (u64, ModelError) {
        let start = Instant::now();
        let error = patience.wait(std::future::pending::<()>()).await.unwrap_err();
        (start.elapsed().as_secs(), error)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_token_may_take_longer_than_the_next() {
        let mut patience = patience(None).unwrap();
        let (after, error) = fails_after(&patience).await;
        assert!(after == 10 && matches!(error, ModelError::Upstream { started: false, .. }), "{after}: {error}");
        patience.token(Instant::now());
        let (after, error) = fails_after(&patience).await;
        assert!(after == 2 && matches!(error, ModelError::Upstream { started: true, .. }), "{after}: {error}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_above_all() {
        let mut patience = patience(Some(3)).unwrap();
        patience.token(Instant::now());
        assert!(matches!(fails_after(&patience).await, (2, ModelError::Upstream { .. })));
        patience.token(Instant::now());
        assert!(matches!(fails_after(&patience).await, (0 | 1, ModelError::DeadlineExceeded { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_others_keep_is_only_told() {
        let options = RemoteOptions {
            first_token_timeout: None,
            idle_timeout: None,
            enforce_deadline: false,
            ..RemoteOptions::default()
        };
        let now = Instant::now();
        let deadline = Some((now + Duration::from_secs(3)).into_std());
        let patience = Patience::new(&options, deadline, now).unwrap();
        assert_eq!(patience.remaining(now), Some(Duration::from_secs(3)));
        let waited = tokio::time::timeout(Duration::from_secs(60), patience.wait(std::future::pending::<()>())).await;
        assert!(waited.is_err(), "it waits on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_too_late_is_not_sent() {
        assert!(matches!(patience(Some(0)), Err(ModelError::DeadlineExceeded { .. })));
    }
}
