//! A check for each replica, as replicas come and go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, JoinSet};

use super::{CheckIntervals, Probe, check_forever};
use crate::replica::{Pool, Replica};

/// How often it is looked whether a retiring replica is idle.
const LOOK: Duration = Duration::from_millis(250);

/// Makes the probe of one replica.
pub type MakeProbe = dyn Fn(&Replica) -> Box<dyn Probe> + Send + Sync;

/// Checks every replica of `pool` for as long as it is there, and removes those that retire once they are idle. Never
/// returns; drop it to stop.
pub async fn check_members(pool: Arc<Pool>, probe: Box<MakeProbe>, intervals: CheckIntervals) {
    let mut members = pool.members();
    let mut tasks = JoinSet::new();
    let mut running: HashMap<u32, AbortHandle> = HashMap::new();
    loop {
        members.mark_unchanged();
        let snapshot = Arc::clone(&pool.snapshot());
        let mut gone = std::mem::take(&mut running);
        for replica in snapshot.replicas.iter().map(|state| &state.replica) {
            let check = gone.remove(&replica.serial()).unwrap_or_else(|| {
                tasks.spawn(check_forever(Arc::clone(&pool), Arc::clone(replica), probe(replica), intervals))
            });
            running.insert(replica.serial(), check);
        }
        gone.into_values().for_each(|check| check.abort());
        drop(snapshot);
        tokio::select! {
            changed = members.changed() => if changed.is_err() { return },
            () = remove_retired(&pool) => {}
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// Removes retiring replicas as they become idle.
async fn remove_retired(pool: &Pool) {
    loop {
        let idle = |replica: &Arc<Replica>| replica.is_retiring() && replica.in_flight() == 0;
        let found = pool.snapshot().replicas.iter().map(|state| &state.replica).find(|replica| idle(replica)).cloned();
        if let Some(replica) = found {
            pool.forget(&replica, Instant::now());
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use llmo_core::model::{Load, Model, ModelInfo};

    use super::*;
    use crate::replica::{OutlierOptions, ProbeOutcome, Reported};
    use crate::test_models::{Silent, seats, until};

    struct Fine;

    #[async_trait]
    impl Probe for Fine {
        async fn check(&self, _: &Replica) -> ProbeOutcome {
            ProbeOutcome::Ready(vec![Reported { info: Silent::new("m").info_of(), load: Load::idle(1) }])
        }
    }

    fn start() -> (Arc<Pool>, JoinSet<()>) {
        let connect = Box::new(|info: &ModelInfo, _: &Replica| -> Result<Arc<dyn Model>, String> {
            Ok(Arc::new(Silent::new(&info.id)))
        });
        let first = Arc::new(Replica::new("http://first", Instant::now()));
        let pool = Arc::new(Pool::new(vec![first], OutlierOptions::default(), connect, Instant::now()));
        let intervals = CheckIntervals { healthy: Duration::from_secs(600), unhealthy: Duration::from_secs(600) };
        let mut checks = JoinSet::new();
        checks.spawn(check_members(Arc::clone(&pool), Box::new(|_| Box::new(Fine)), intervals));
        (pool, checks)
    }

    #[tokio::test]
    async fn a_replica_that_is_added_is_checked_and_used() {
        let (pool, _checks) = start();
        until(|| seats(&pool) == ["first"]).await;
        pool.add(Arc::new(Replica::new("http://second", Instant::now())), Instant::now());
        until(|| seats(&pool).len() == 2).await;
        pool.remove("first", Instant::now());
        assert_eq!(seats(&pool), ["second"]);
    }

    #[tokio::test]
    async fn a_retiring_replica_gets_nothing_new_and_leaves_when_it_is_idle() {
        let (pool, _checks) = start();
        until(|| seats(&pool).len() == 1).await;
        let replica = pool.find("first").expect("it is there");
        let lease = replica.lease();
        pool.retire("first", Instant::now());
        assert_eq!(seats(&pool).len(), 0);
        tokio::time::sleep(2 * LOOK).await;
        assert!(pool.find("first").is_some(), "a request runs there");
        drop(lease);
        until(|| pool.find("first").is_none()).await;
    }

    #[tokio::test]
    async fn who_comes_back_while_it_retires_stays() {
        let (pool, _checks) = start();
        until(|| seats(&pool).len() == 1).await;
        let replica = pool.find("first").expect("it is there");
        let _lease = replica.lease();
        pool.retire("first", Instant::now());
        let back = pool.add(Arc::new(Replica::new("http://first", Instant::now())), Instant::now());
        assert!(Arc::ptr_eq(&back, &replica));
        assert_eq!(seats(&pool).len(), 1);
    }
}
