//! Picking a replica, trying it, judging what came of it, and trying another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use llmo_config::GatewayConfig;
use llmo_core::model::{ModelError, Result};

use super::{Fate, RetryBudget, backoff};
use crate::metrics::RouterMetrics;
use crate::policy::{PickContext, Policy};
use crate::replica::{Lease, Pool, Replica, Served};

/// A replica from which nothing came for this long, while somebody waits, is asked how it is.
pub(super) const SILENCE: Duration = Duration::from_millis(400);

/// Limits of a request's way through the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterOptions {
    /// Most attempts for one request, the first included.
    pub max_attempts: u32,
    /// Retries may be this share of requests, in percent…
    pub retry_percent: u32,
    /// …but so many are always allowed in ten seconds.
    pub retry_minimum: u32,
    /// Longest wait for the first token (or for a whole answer that is not streamed), for each attempt.
    pub first_token_timeout: Duration,
    /// Longest wait between two tokens.
    pub idle_timeout: Duration,
    /// What callers are told to wait when no replica can serve.
    pub retry_after: Duration,
    /// How long a broken stream looks for a replica that goes on with it; zero: it isn't continued.
    pub continuation_timeout: Duration,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self::from(&GatewayConfig::default())
    }
}

impl From<&GatewayConfig> for RouterOptions {
    fn from(config: &GatewayConfig) -> Self {
        Self {
            max_attempts: config.max_attempts.max(1),
            retry_percent: config.retry_budget_percent,
            retry_minimum: config.retry_budget_min,
            first_token_timeout: Duration::from_secs(config.first_token_timeout_seconds),
            idle_timeout: Duration::from_secs(config.idle_timeout_seconds),
            retry_after: Duration::from_secs(1),
            continuation_timeout: Duration::from_secs(config.continuation_timeout_seconds),
        }
    }
}

/// Sends requests to replicas. One for all models: the retry budget is the gateway's.
#[derive(Debug)]
pub struct Dispatcher {
    pool: Arc<Pool>,
    policy: Arc<dyn Policy>,
    budget: RetryBudget,
    options: RouterOptions,
    metrics: RouterMetrics,
}

/// What a request is sent for.
pub(super) enum Purpose {
    /// It is new.
    Start,
    /// It began on a replica that broke: not there, if there is a choice.
    Continue(Option<Arc<Replica>>),
}

/// An attempt that did not succeed.
struct Unsuccessful {
    error: ModelError,
    fate: Fate,
}

impl Unsuccessful {
    fn new(error: ModelError) -> Self {
        Self { fate: Fate::of(&error), error }
    }
}

impl Dispatcher {
    /// Sends to the replicas of `pool` as `policy` chooses.
    #[must_use]
    pub fn new(pool: Arc<Pool>, policy: Arc<dyn Policy>, options: RouterOptions, metrics: RouterMetrics) -> Self {
        let budget = RetryBudget::new(options.retry_percent, options.retry_minimum);
        Self { pool, policy, budget, options, metrics }
    }

    /// The replicas.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// How replicas are chosen.
    pub(super) fn policy_name(&self) -> &'static str {
        self.policy.name()
    }

    /// The counters.
    pub(super) fn metrics(&self) -> &RouterMetrics {
        &self.metrics
    }

    /// The limits.
    #[must_use]
    pub fn options(&self) -> &RouterOptions {
        &self.options
    }

    /// Runs `call` on a replica of `model`, and on another one as long as it fails without having started, within the
    /// attempts, the retry budget and the deadline. The lease is the request's place at the replica that answered.
    pub(super) async fn dispatch<T, F>(
        &self,
        model: &str,
        deadline: Option<Instant>,
        purpose: Purpose,
        call: impl Fn(Arc<Served>) -> F,
    ) -> Result<(T, Lease)>
    where
        F: Future<Output = Result<T>>,
    {
        let mut tried: Vec<Arc<Replica>> = Vec::new();
        match purpose {
            Purpose::Start => self.budget.deposit(),
            Purpose::Continue(broken) => tried.extend(broken),
        }
        let mut last: Option<Unsuccessful> = None;
        for attempt in 0..self.options.max_attempts {
            let Some((replica, served)) = self.choose(model, &tried) else { break };
            if let Some(failure) = &last {
                let free = tried.last().is_some_and(|replica| replica.take_free_retry());
                if !free && !self.budget.withdraw(Instant::now()) {
                    self.metrics.out_of_budget();
                    break;
                }
                self.metrics.retried(failure.fate);
                self.pause(attempt, failure.fate, deadline).await?;
            }
            let (lease, sent) = (replica.lease(), Instant::now());
            match self.attempt(&lease, deadline, call(Arc::clone(&served))).await {
                Ok(answer) => return Ok((answer, lease)),
                Err(failure) => {
                    self.judge(&replica, &served, &failure, sent);
                    if !failure.error.is_retryable() {
                        return Err(failure.error);
                    }
                    tracing::debug!(replica = replica.id(), model, attempt, error = %failure.error, "attempt failed");
                    tried.push(replica);
                    last = Some(failure);
                }
            }
        }
        Err(self.refusal(model, last))
    }

    /// Takes in what became of a stream after its first output.
    pub(super) fn judge_started(&self, replica: &Arc<Replica>, error: Option<&ModelError>, now: Instant) {
        match error {
            None => replica.count_success(),
            Some(error) if matches!(Fate::of(error), Fate::Lost | Fate::Failed) => {
                self.pool.failed(replica, &error.to_string(), now);
                // If it died, others should know at once.
                replica.ask_check();
            }
            Some(_) => {}
        }
    }

    /// The refusal when nobody can serve `model` now.
    pub(super) fn nobody(&self, model: &str) -> ModelError {
        let snapshot = self.pool.snapshot();
        let known = snapshot.replicas.len();
        let up = snapshot.route(model).map_or(0, |route| route.seats.len());
        ModelError::Unavailable {
            reason: format!("{up} of {known} replicas can serve {model:?} right now"),
            retry_after: self.options.retry_after,
        }
    }

    fn choose(&self, model: &str, tried: &[Arc<Replica>]) -> Option<(Arc<Replica>, Arc<Served>)> {
        let snapshot = self.pool.snapshot();
        let route = snapshot.route(model)?;
        let context = PickContext { now: Instant::now(), tried };
        let index = self.policy.pick(&route.seats, &context, &mut Rng::new())?;
        Some((Arc::clone(&route.seats.get(index)?.replica), Arc::clone(route.served.get(index)?)))
    }

    async fn attempt<T>(
        &self,
        lease: &Lease,
        deadline: Option<Instant>,
        answer: impl Future<Output = Result<T>>,
    ) -> Result<T, Unsuccessful> {
        let upstream = |message: String| ModelError::Upstream { message, started: false };
        let limit = self.options.first_token_timeout;
        tokio::select! {
            biased;
            answer = answer => answer.map_err(Unsuccessful::new),
            () = until_down(lease.replica()) => Err(Unsuccessful::new(upstream("the replica went down".into()))),
            () = at(deadline) => {
                let error = ModelError::DeadlineExceeded { stage: "while waiting for the first token".into() };
                Err(Unsuccessful::new(error))
            }
            () = tokio::time::sleep(limit) => {
                let error = upstream(format!("no token within {} s", limit.as_secs()));
                Err(Unsuccessful { error, fate: Fate::Failed })
            }
        }
    }

    fn judge(&self, replica: &Arc<Replica>, served: &Served, failure: &Unsuccessful, sent: Instant) {
        let (now, reason) = (Instant::now(), || failure.error.to_string());
        if let Some(penalty) = failure.fate.penalty() {
            served.latency.record(penalty, now);
        }
        match failure.fate {
            Fate::Fine => replica.count_success(),
            Fate::Busy => {}
            Fate::Lost => self.pool.lost(replica, &reason(), sent, now),
            Fate::Failed => {
                self.pool.failed(replica, &reason(), now);
                replica.ask_check();
            }
        }
    }

    async fn pause(&self, retry: u32, fate: Fate, deadline: Option<Instant>) -> Result<()> {
        if fate == Fate::Lost {
            // Another replica knows nothing of this one's death: no reason to spare it.
            return Ok(());
        }
        let wait = backoff::before_retry(retry, &mut Rng::new());
        if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            return Err(ModelError::DeadlineExceeded { stage: "before another replica could be tried".into() });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// What the caller hears when no attempt succeeded.
    fn refusal(&self, model: &str, last: Option<Unsuccessful>) -> ModelError {
        match last {
            // Unreachable replicas are an outage to wait out (503), not a bad gateway.
            None | Some(Unsuccessful { fate: Fate::Lost, .. }) => self.nobody(model),
            Some(Unsuccessful { error, .. }) => error,
        }
    }
}

/// Waits until a replica is down. While it says nothing, to anybody, it is asked how it is: it may hang with its
/// connections open.
async fn until_down(replica: &Replica) {
    let doubt = async {
        loop {
            tokio::time::sleep(SILENCE).await;
            replica.doubt(SILENCE, Instant::now());
        }
    };
    tokio::select! {
        () = replica.until_down() => {}
        () = doubt => {}
    }
}

/// Waits until an instant; for ever without one.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
