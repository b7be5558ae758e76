//! Rules of the pool.

use std::collections::BTreeSet;

use llmo_core::model::Load;

use super::*;
use crate::replica::Phase;
use crate::test_models::Silent;

fn pool(n: usize, now: Instant) -> (Pool, Vec<Arc<Replica>>) {
    let replicas: Vec<_> = (0..n).map(|i| Arc::new(Replica::new(&format!("http://r{i}"), now))).collect();
    let connect = Box::new(|info: &ModelInfo, _: &Replica| {
        let model: Arc<dyn Model> = Arc::new(Silent::new(&info.id));
        Ok(model)
    });
    let pool = Pool::new(replicas.clone(), OutlierOptions::default(), connect, now);
    for replica in &replicas {
        pool.probed(replica, &ready(&["m"]), now);
    }
    (pool, replicas)
}

fn ready(models: &[&str]) -> ProbeOutcome {
    let reported = |id: &&str| Reported { info: Silent::new(id).info_of(), load: Load::idle(2) };
    ProbeOutcome::Ready(models.iter().map(reported).collect())
}

fn usable(pool: &Pool) -> BTreeSet<String> {
    pool.snapshot()
        .route("m")
        .map_or_else(BTreeSet::new, |route| route.seats.iter().map(|seat| seat.replica.id().to_owned()).collect())
}

#[test]
fn a_lost_request_takes_its_replica_out_and_asks_for_a_check() {
    let now = Instant::now();
    let (pool, replicas) = pool(2, now);
    pool.lost(&replicas[0], "connection refused", now, now);
    assert_eq!(usable(&pool), BTreeSet::from(["r1".to_owned()]));
    assert!(replicas[0].is_down());
    assert_eq!(pool.snapshot().replicas[0].health.phase(), Phase::Down);
}

#[test]
fn a_row_of_failures_ejects_and_time_brings_back() {
    let now = Instant::now();
    let (pool, replicas) = pool(3, now);
    for _ in 0..OutlierOptions::default().failures {
        pool.failed(&replicas[0], "500", now);
    }
    assert!(!usable(&pool).contains("r0"));
    let later = now + OutlierOptions::default().longest;
    pool.release(&replicas[0], later);
    assert!(usable(&pool).contains("r0"));
}

#[test]
fn at_most_half_of_all_replicas_are_ejected() {
    let now = Instant::now();
    let (pool, replicas) = pool(3, now);
    for replica in &replicas {
        for _ in 0..20 {
            pool.failed(replica, "500", now);
        }
    }
    assert_eq!(usable(&pool).len(), 2);
}

#[test]
fn a_single_replica_is_never_ejected() {
    let now = Instant::now();
    let (pool, replicas) = pool(1, now);
    (0..100).for_each(|_| pool.failed(&replicas[0], "500", now));
    assert_eq!(usable(&pool).len(), 1);
}

#[test]
fn an_unchanged_report_keeps_client_and_snapshot() {
    let now = Instant::now();
    let (pool, replicas) = pool(1, now);
    let before = pool.snapshot().clone();
    pool.probed(&replicas[0], &ready(&["m"]), now);
    assert!(Arc::ptr_eq(&before, &pool.snapshot()));
}

#[test]
fn a_model_that_appears_or_goes_changes_the_routes() {
    let now = Instant::now();
    let (pool, replicas) = pool(1, now);
    pool.probed(&replicas[0], &ready(&["m", "n"]), now);
    assert!(pool.snapshot().route("n").is_some());
    pool.probed(&replicas[0], &ready(&["n"]), now);
    assert!(pool.snapshot().route("m").is_none());
}

#[test]
fn a_replica_that_loads_keeps_its_models_known() {
    let now = Instant::now();
    let (pool, replicas) = pool(1, now);
    pool.probed(&replicas[0], &ProbeOutcome::NotReady { reasons: vec!["loading".into()], models: vec![] }, now);
    assert!(pool.snapshot().route("m").is_some_and(|route| route.seats.is_empty()));
}
