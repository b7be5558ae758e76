//! The task that checks one replica for as long as the gateway runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_config::GatewayConfig;

use super::Probe;
use super::tripwire::Tripwire;
use crate::replica::{Phase, Pool, ProbeOutcome, Replica, ReplicaState};

/// Checks that were asked for come at most this often: a storm of failing requests must not become a storm of checks.
const MIN_GAP: Duration = Duration::from_millis(50);

/// Time between checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckIntervals {
    /// Of a replica that is up.
    pub healthy: Duration,
    /// Of any other.
    pub unhealthy: Duration,
}

impl From<&GatewayConfig> for CheckIntervals {
    fn from(config: &GatewayConfig) -> Self {
        Self {
            healthy: Duration::from_millis(config.health_interval_ms),
            unhealthy: Duration::from_millis(config.unhealthy_interval_ms),
        }
    }
}

/// Checks `replica` at once, then in intervals, whenever somebody asks ([`Replica::ask_check`]), and the moment it dies
/// (its connections close). Lets it back in when an ejection ends. Never returns; drop it to stop.
pub async fn check_forever(pool: Arc<Pool>, replica: Arc<Replica>, probe: Box<dyn Probe>, intervals: CheckIntervals) {
    let mut ejected_until = None;
    let mut tripwire = Tripwire::new(probe.wire(&replica));
    let (mut was_up, mut doubts) = (false, 0_u32);
    loop {
        let outcome = probe.check(&replica).await;
        let mut well = !matches!(outcome, ProbeOutcome::Unreachable { .. });
        if well && !was_up {
            // What came up may be another program, with other manners.
            tripwire = Tripwire::new(probe.wire(&replica));
        }
        if well {
            // Before anybody is told that it is up: from then on its death must be noticed.
            well = tripwire.stretch().await;
        }
        pool.probed(&replica, &outcome, Instant::now());
        was_up = is_up(&pool, &replica);
        tokio::time::sleep(MIN_GAP).await;
        let pause = release_or_remember(&pool, &replica, &mut ejected_until, Instant::now());
        // One late answer takes nobody down, but the next question comes at once, and those after it soon.
        doubts = if well { 0 } else { doubts.saturating_add(1) };
        let next = if was_up && doubts == 1 { MIN_GAP } else { jittered(intervals, was_up && well) };
        let pause = pause.unwrap_or(Duration::MAX).min(next);
        tokio::select! {
            () = tokio::time::sleep(pause.saturating_sub(MIN_GAP)) => {}
            () = replica.check_asked() => {}
            () = tripwire.tripped() => {}
        }
    }
}

/// Time until the replica's ejection ends, if it is ejected.
fn release_or_remember(
    pool: &Pool,
    replica: &Arc<Replica>,
    ejected_until: &mut Option<Instant>,
    now: Instant,
) -> Option<Duration> {
    if ejected_until.is_some_and(|until| until <= now) {
        pool.release(replica, now);
    }
    let snapshot = pool.snapshot();
    let state = snapshot.replicas.iter().find(|state| Arc::ptr_eq(&state.replica, replica))?;
    *ejected_until = state.health.outlier.ejected_until(now);
    ejected_until.map(|until| until.duration_since(now))
}

fn is_up(pool: &Pool, replica: &Arc<Replica>) -> bool {
    let up = |state: &ReplicaState| Arc::ptr_eq(&state.replica, replica) && state.health.phase() == Phase::Up;
    pool.snapshot().replicas.iter().any(up)
}

/// Up to a tenth earlier than the interval, so that gateways that started together don't ask together for ever.
fn jittered(intervals: CheckIntervals, well: bool) -> Duration {
    let interval = if well { intervals.healthy } else { intervals.unhealthy };
    interval.mul_f64(1.0 - 0.1 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use llmo_core::model::{Load, Model, ModelInfo};

    use super::*;
    use crate::replica::{OutlierOptions, Reported};
    use crate::test_models::{Silent, until};

    struct Counting(Arc<AtomicUsize>);

    #[async_trait]
    impl Probe for Counting {
        async fn check(&self, _replica: &Replica) -> ProbeOutcome {
            self.0.fetch_add(1, Ordering::SeqCst);
            ProbeOutcome::Ready(vec![Reported { info: Silent::new("m").info_of(), load: Load::idle(1) }])
        }
    }

    fn start(n: usize, intervals: CheckIntervals) -> (Arc<Pool>, Vec<Arc<Replica>>, Arc<AtomicUsize>) {
        let now = Instant::now();
        let replicas: Vec<_> = (0..n).map(|i| Arc::new(Replica::new(&format!("http://r{i}"), now))).collect();
        let connect = Box::new(|info: &ModelInfo, _: &Replica| {
            let model: Arc<dyn Model> = Arc::new(Silent::new(&info.id));
            Ok(model)
        });
        let options = OutlierOptions { base: Duration::from_millis(200), ..OutlierOptions::default() };
        let pool = Arc::new(Pool::new(replicas.clone(), options, connect, now));
        let checks = Arc::new(AtomicUsize::new(0));
        for replica in &replicas {
            let probe = Box::new(Counting(Arc::clone(&checks)));
            tokio::spawn(check_forever(Arc::clone(&pool), Arc::clone(replica), probe, intervals));
        }
        (pool, replicas, checks)
    }

    const SELDOM: CheckIntervals =
        CheckIntervals { healthy: Duration::from_secs(600), unhealthy: Duration::from_secs(600) };

    fn seats(pool: &Pool) -> usize {
        pool.snapshot().route("m").map_or(0, |route| route.seats.len())
    }

    #[tokio::test]
    async fn a_lost_replica_is_checked_at_once() {
        let (pool, replicas, checks) = start(1, SELDOM);
        until(|| seats(&pool) == 1).await;
        let (before, now) = (checks.load(Ordering::SeqCst), Instant::now());
        pool.lost(&replicas[0], "reset", now, now);
        assert_eq!(seats(&pool), 0);
        until(|| seats(&pool) == 1).await;
        assert!(checks.load(Ordering::SeqCst) > before);
    }

    #[tokio::test]
    async fn an_ejected_replica_is_let_back_in_on_time() {
        let (pool, replicas, _checks) = start(3, SELDOM);
        until(|| seats(&pool) == 3).await;
        for _ in 0..OutlierOptions::default().failures {
            pool.failed(&replicas[0], "500", Instant::now());
        }
        assert_eq!(seats(&pool), 2);
        until(|| seats(&pool) == 3).await;
    }
}
