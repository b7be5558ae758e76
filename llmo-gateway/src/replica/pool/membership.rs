//! Which replicas there are, changed as a whole while requests run.

use std::sync::Arc;
use std::time::Instant;

use super::{Pool, Replica, ReplicaState};

/// A replica that shall be in the pool, and its share of requests.
#[derive(Debug, Clone)]
pub struct Member {
    /// Who.
    pub replica: Arc<Replica>,
    /// Its share relative to others; 0: nothing new goes there.
    pub weight: u32,
}

impl Pool {
    /// Makes these the replicas, in one step, in this order. Those that stay keep their state. Those that are not among them
    /// retire: nothing new goes there, and what runs there goes on.
    pub fn set_members(&self, members: &[Member], now: Instant) {
        let is_member = |replica: &Arc<Replica>| members.iter().any(|member| Arc::ptr_eq(&member.replica, replica));
        self.replace_members(now, |states| {
            let before = std::mem::take(states);
            for Member { replica, weight } in members {
                replica.set_weight(*weight as f32);
                replica.set_retiring(false);
                let known = before.iter().find(|state| Arc::ptr_eq(&state.replica, replica));
                if known.is_none() {
                    tracing::info!(replica = replica.id(), weight, "replica added");
                    self.events.push(replica.id(), "added", "it was found");
                }
                states.push(known.cloned().unwrap_or_else(|| ReplicaState::joining(Arc::clone(replica))));
            }
            for state in before.into_iter().filter(|state| !is_member(&state.replica)) {
                let (replica, running) = (&state.replica, state.replica.in_flight());
                if !replica.is_retiring() {
                    tracing::info!(replica = replica.id(), running, "replica retires; what runs there goes on");
                    self.events.push(replica.id(), "retiring", format!("{running} requests go on there"));
                }
                replica.set_retiring(true);
                if running > 0 {
                    states.push(state);
                }
            }
        });
    }

    /// Forgets a replica. Whoever has the same address stays: a replica whose use changed is another one.
    pub fn forget(&self, replica: &Arc<Replica>, now: Instant) {
        self.replace_members(now, |states| states.retain(|state| !Arc::ptr_eq(&state.replica, replica)));
        self.events.push(replica.id(), "removed", "");
    }
}

#[cfg(test)]
mod tests {
    use llmo_core::model::{Load, Model, ModelInfo};

    use super::*;
    use crate::replica::{OutlierOptions, ProbeOutcome, Reported};
    use crate::test_models::Silent;

    fn replica(name: &str) -> Arc<Replica> {
        Arc::new(Replica::new(&format!("http://{name}"), Instant::now()))
    }

    fn member(replica: &Arc<Replica>) -> Member {
        Member { replica: Arc::clone(replica), weight: 1 }
    }

    fn pool(replicas: &[&Arc<Replica>]) -> Pool {
        let connect = Box::new(|info: &ModelInfo, _: &Replica| {
            let model: Arc<dyn Model> = Arc::new(Silent::new(&info.id));
            Ok(model)
        });
        let now = Instant::now();
        let pool = Pool::new(replicas.iter().map(|r| Arc::clone(r)).collect(), OutlierOptions::default(), connect, now);
        for replica in replicas {
            let reported = Reported { info: Silent::new("m").info_of(), load: Load::idle(1) };
            pool.probed(replica, &ProbeOutcome::Ready(vec![reported]), now);
        }
        pool
    }

    fn seats(pool: &Pool) -> Vec<String> {
        let snapshot = pool.snapshot();
        snapshot
            .route("m")
            .into_iter()
            .flat_map(|route| route.seats.iter())
            .map(|seat| seat.replica.id().to_owned())
            .collect()
    }

    #[test]
    fn those_that_stay_keep_their_health_and_those_that_come_wait_for_a_check() {
        let (a, b, c) = (replica("a"), replica("b"), replica("c"));
        let pool = pool(&[&a, &b]);
        pool.set_members(&[member(&c), member(&b)], Instant::now());
        assert_eq!(seats(&pool), ["b"]);
        let order: Vec<_> = pool.snapshot().replicas.iter().map(|state| state.replica.id().to_owned()).collect();
        assert_eq!(order, ["c", "b"]);
    }

    #[test]
    fn a_replica_without_weight_gets_nothing_new() {
        let (a, b) = (replica("a"), replica("b"));
        let pool = pool(&[&a, &b]);
        pool.set_members(&[Member { weight: 0, ..member(&a) }, member(&b)], Instant::now());
        assert_eq!(seats(&pool), ["b"]);
        pool.set_members(&[member(&a), member(&b)], Instant::now());
        assert_eq!(seats(&pool), ["a", "b"]);
    }

    #[test]
    fn who_retires_stays_until_nothing_runs_there_and_may_come_back() {
        let (a, b) = (replica("a"), replica("b"));
        let pool = pool(&[&a, &b]);
        let lease = a.lease();
        pool.set_members(&[member(&b)], Instant::now());
        assert_eq!((seats(&pool), pool.snapshot().replicas.len()), (vec!["b".to_owned()], 2));
        pool.set_members(&[member(&b), member(&a)], Instant::now());
        assert_eq!(seats(&pool), ["b", "a"]);
        drop(lease);
        pool.set_members(&[member(&b)], Instant::now());
        assert_eq!(pool.snapshot().replicas.len(), 1);
    }

    #[test]
    fn only_the_replica_that_is_meant_is_forgotten() {
        let (old, new) = (replica("a"), replica("a"));
        let pool = pool(&[&old]);
        let _lease = old.lease();
        pool.set_members(&[member(&new)], Instant::now());
        pool.forget(&old, Instant::now());
        let left: Vec<_> = pool.snapshot().replicas.iter().map(|state| Arc::clone(&state.replica)).collect();
        assert!(left.len() == 1 && Arc::ptr_eq(&left[0], &new));
    }
}
