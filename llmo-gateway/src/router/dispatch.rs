//! Picking a replica, trying it, judging what came of it, and trying another.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use llmo_core::model::{ModelError, Result};

use super::errand::{Errand, Purpose};
use super::hedge::Hedges;
use super::poison::Poison;
use super::{Fate, RetryBudget, RouterOptions, backoff};
use crate::metrics::RouterMetrics;
use crate::policy::{self, PickContext, Policy};
use crate::replica::{Claim, Lease, Pool, Replica, Served, Tally};

/// A replica from which nothing came for this long, while somebody waits, is asked how it is.
pub(super) const SILENCE: Duration = Duration::from_millis(400);

/// Sends requests to replicas. One for all models: the retry budget is the gateway's.
#[derive(Debug)]
pub struct Dispatcher {
    pool: Arc<Pool>,
    policy: Arc<dyn Policy>,
    pub(super) budget: RetryBudget,
    pub(super) hedges: Hedges,
    pub(super) poison: Poison,
    options: RouterOptions,
    metrics: RouterMetrics,
}

/// A replica that was chosen for a request.
pub(super) struct Chosen {
    pub(super) replica: Arc<Replica>,
    pub(super) served: Arc<Served>,
    everywhere: Tally,
    why: &'static str,
}

/// An attempt that did not succeed.
pub(super) struct Unsuccessful {
    pub(super) error: ModelError,
    pub(super) fate: Fate,
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
        let hedges = Hedges::new(options.hedge_percentile);
        Self { pool, policy, budget, hedges, poison: Poison::default(), options, metrics }
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

    /// Requests sent to a second replica so far, and those that it served.
    #[must_use]
    pub fn hedges(&self) -> (u64, u64) {
        self.metrics.hedges()
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

    /// What the policy looks at in requests.
    pub(super) fn policy(&self) -> &dyn Policy {
        self.policy.as_ref()
    }

    /// Runs `call` on a replica of the errand's model, and on another one as long as it fails without having started, within
    /// the attempts, the retry budget and the deadline. The lease is the request's place at the replica that answered.
    pub(super) async fn dispatch<T, F>(
        &self,
        mut errand: Errand<'_>,
        call: impl Fn(Arc<Served>) -> F,
    ) -> Result<(T, Lease)>
    where
        F: Future<Output = Result<T>>,
    {
        let mut tried: Vec<Arc<Replica>> = Vec::new();
        match std::mem::take(&mut errand.purpose) {
            Purpose::Start => self.budget.deposit(),
            Purpose::Continue(broken) => tried.extend(broken),
        }
        let mut last: Option<Unsuccessful> = None;
        for attempt in 0..self.options.max_attempts {
            let Some(chosen) = self.choose(&errand, &tried) else { break };
            if let Some(failure) = &last {
                let free = tried.last().is_some_and(|replica| replica.take_free_retry());
                if !free && !self.budget.withdraw(Instant::now()) {
                    self.metrics.out_of_budget();
                    break;
                }
                self.metrics.retried(failure.fate);
                self.pause(attempt, failure.fate, errand.deadline).await?;
            }
            let answer = match self.hedges.delay(&errand) {
                Some(delay) => self.hedged(chosen, delay, &errand, &mut tried, &call).await,
                None => {
                    tried.push(Arc::clone(&chosen.replica));
                    self.run(&chosen, &errand, &call).await
                }
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(failure) if !failure.error.is_retryable() => return Err(failure.error),
                Err(failure) => {
                    tracing::debug!(model = errand.model, attempt, error = %failure.error, "attempt failed");
                    last = Some(failure);
                }
            }
        }
        Err(self.refusal(errand.model, last))
    }

    /// Runs `call` there, and judges the replica by what comes of it. Dropping the future ends it, there as well.
    pub(super) async fn run<T, F>(
        &self,
        chosen: &Chosen,
        errand: &Errand<'_>,
        call: &impl Fn(Arc<Served>) -> F,
    ) -> Result<(T, Lease), Unsuccessful>
    where
        F: Future<Output = Result<T>>,
    {
        let claim =
            Claim::new(errand.work.prompt, errand.work.output).counted(&chosen.served.running, &chosen.everywhere);
        let (lease, sent) = (Lease::new(Arc::clone(&chosen.replica), claim).because(chosen.why), Instant::now());
        let answer = self.attempt(&lease, errand.deadline, call(Arc::clone(&chosen.served))).await;
        match &answer {
            Ok(_) => {
                let wait = sent.elapsed();
                self.hedges.learn(errand, wait);
                if errand.hedge {
                    self.pool.began(&chosen.replica, &chosen.served, errand.work.prompt, wait, Instant::now());
                }
            }
            Err(failure) => self.judge(&chosen.replica, &chosen.served, failure, sent),
        }
        answer.map(|answer| (answer, lease))
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

    pub(super) fn choose(&self, errand: &Errand<'_>, tried: &[Arc<Replica>]) -> Option<Chosen> {
        let snapshot = self.pool.snapshot();
        let route = snapshot.route(errand.model)?;
        let why = Cell::new(self.policy.reason());
        let mut context = PickContext::first(Instant::now()).without(tried).of(&errand.prompt).telling(&why);
        context.tokens = errand.work.prompt.saturating_add(errand.work.output * Claim::WRITING);
        let choose =
            |context: &PickContext<'_>| policy::choose(self.policy.as_ref(), &route.seats, context, &mut Rng::new());
        let mut index = choose(&context)?;
        if let Some(slow) = route.seats.get(index).filter(|seat| !seat.replica.may_try(context.now)) {
            // One that was too slow lately has the request that tries it; better there than nowhere.
            let others: Vec<_> = tried.iter().chain([&slow.replica]).cloned().collect();
            index = choose(&context.without(&others)).unwrap_or(index);
        }
        let seat = route.seats.get(index)?;
        self.policy.routed(seat, &context);
        Some(Chosen {
            replica: Arc::clone(&seat.replica),
            served: Arc::clone(route.served.get(index)?),
            everywhere: route.seats.running().clone(),
            why: why.get(),
        })
    }

    async fn attempt<T>(
        &self,
        lease: &Lease,
        deadline: Option<Instant>,
        answer: impl Future<Output = Result<T>>,
    ) -> Result<T, Unsuccessful> {
        let upstream = |message: String| ModelError::Upstream { message, started: false };
        let limit = self.options.first_token_timeout;
        let (replica, started) = (lease.replica(), Instant::now());
        // Everything that time alone decides is looked at by one timer.
        let next = |now: Instant| {
            let limits = [Some(started + limit), deadline].into_iter().flatten();
            limits.fold(now + SILENCE, Instant::min)
        };
        let (mut answer, mut down) = (pin!(answer), pin!(replica.until_down()));
        let mut timer = pin!(tokio::time::sleep_until(next(started).into()));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map_err(Unsuccessful::new),
                () = &mut down => return Err(Unsuccessful::new(upstream("the replica went down".into()))),
                () = &mut timer => {}
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                let error = ModelError::DeadlineExceeded { stage: "while waiting for the first token".into() };
                return Err(Unsuccessful::new(error));
            }
            if started + limit <= now {
                let error = upstream(format!("no token within {} s", limit.as_secs()));
                return Err(Unsuccessful { error, fate: Fate::Failed });
            }
            // While it says nothing, to anybody, it is asked how it is: it may hang with its connections open.
            replica.doubt(SILENCE, now);
            timer.as_mut().reset(next(now).into());
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
