//! Asking a second replica when the first one is slow to begin.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use llmo_core::model::Result;
use parking_lot::Mutex;

use super::Dispatcher;
use super::dispatch::{Chosen, Unsuccessful};
use super::errand::Errand;
use crate::replica::{Lease, Replica, Served};

/// Samples that a percentile is taken of: the latest.
const WINDOW: usize = 256;
/// With fewer nobody knows what is slow.
const FEWEST: usize = 32;
/// No hedge sooner than this, however quick replicas are.
const SOONEST: Duration = Duration::from_millis(5);

/// How long requests wait for their first token, for each model, and from when on that is too long.
///
/// Dean and Barroso, "The Tail at Scale", 2013: a hedged request, sent after the 95th percentile, costs about 5 % more load
/// and takes most of the tail off. The load is bounded by the retry budget besides.
#[derive(Debug)]
pub(super) struct Hedges {
    percentile: u32,
    waits: Mutex<HashMap<String, Waits>>,
}

impl Hedges {
    /// After so many percent of requests have their first token; 0: never.
    pub(super) fn new(percentile: u32) -> Self {
        Self { percentile, waits: Mutex::default() }
    }

    /// When to ask a second replica; `None`: not at all.
    pub(super) fn delay(&self, errand: &Errand<'_>) -> Option<Duration> {
        if self.percentile == 0 || !errand.hedge {
            return None;
        }
        self.waits.lock().get(errand.model)?.percentile(self.percentile).map(|delay| delay.max(SOONEST))
    }

    /// Takes in how long a first token took.
    pub(super) fn learn(&self, errand: &Errand<'_>, wait: Duration) {
        if self.percentile == 0 || !errand.hedge {
            return;
        }
        let mut waits = self.waits.lock();
        match waits.get_mut(errand.model) {
            Some(known) => known.push(wait),
            None => waits.entry(errand.model.to_owned()).or_default().push(wait),
        }
    }
}

/// The latest waits.
#[derive(Debug, Default)]
struct Waits {
    samples: Vec<Duration>,
    next: usize,
}

impl Waits {
    fn push(&mut self, wait: Duration) {
        if self.samples.len() < WINDOW {
            self.samples.push(wait);
        } else {
            self.samples[self.next] = wait;
        }
        self.next = (self.next + 1) % WINDOW;
    }

    fn percentile(&self, percentile: u32) -> Option<Duration> {
        if self.samples.len() < FEWEST {
            return None;
        }
        let mut sorted = self.samples.clone();
        let rank = (sorted.len() * percentile as usize / 100).min(sorted.len() - 1);
        Some(*sorted.select_nth_unstable(rank).1)
    }
}

impl Dispatcher {
    /// Runs `call` on the chosen replica, and after `delay` on a second one too, if there is one and the budget allows. The
    /// first answer counts; the other request is dropped, which ends it at its replica.
    pub(super) async fn hedged<T, F>(
        &self,
        chosen: Chosen,
        delay: Duration,
        errand: &Errand<'_>,
        tried: &mut Vec<Arc<Replica>>,
        call: &impl Fn(Arc<Served>) -> F,
    ) -> Result<(T, Lease), Unsuccessful>
    where
        F: Future<Output = Result<T>>,
    {
        let sent = Instant::now();
        tried.push(Arc::clone(&chosen.replica));
        let mut first = pin!(self.run(&chosen, errand, call));
        if let Ok(answer) = tokio::time::timeout(delay, &mut first).await {
            return answer;
        }
        let Some(other) = self.choose(errand, tried).filter(|_| self.budget.withdraw(Instant::now())) else {
            return first.await;
        };
        tried.push(Arc::clone(&other.replica));
        self.metrics().hedged(false);
        let second = pin!(self.run(&other, errand, call));
        match select(first, second).await {
            Either::Left((Ok(answer), _)) => Ok(answer),
            Either::Right((Ok(answer), _)) => {
                self.metrics().hedged(true);
                // It would have taken longer still: policies should know.
                let (waited, now) = (sent.elapsed(), Instant::now());
                chosen.served.latency.record(waited, now);
                self.pool().began(&chosen.replica, &chosen.served, errand.work.prompt, waited, now);
                Ok(answer)
            }
            Either::Left((Err(failure), _)) | Either::Right((Err(failure), _)) if !failure.error.is_retryable() => {
                Err(failure)
            }
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_needs_samples_and_follows_the_latest() {
        let mut waits = Waits::default();
        (0..FEWEST - 1).for_each(|_| waits.push(Duration::from_millis(10)));
        assert_eq!(waits.percentile(95), None);
        (0..100).for_each(|ms| waits.push(Duration::from_millis(ms)));
        assert!(waits.percentile(95).is_some_and(|p| p >= Duration::from_millis(90)));
        (0..WINDOW).for_each(|_| waits.push(Duration::from_millis(7)));
        assert_eq!(waits.percentile(95), Some(Duration::from_millis(7)));
    }
}
