//! Rules of replicas that come and go.

use std::collections::HashSet;

use async_trait::async_trait;
use llmo_core::model::{Load, Model, ModelInfo};
use parking_lot::Mutex;

use super::*;
use crate::health::{CheckIntervals, Probe, check_members};
use crate::replica::{OutlierOptions, ProbeOutcome, Reported};
use crate::test_models::{Silent, seats, until};

/// Answers for all that are not dead, after a while.
#[derive(Clone, Default)]
struct Answers {
    dead: Arc<Mutex<HashSet<String>>>,
    after: Duration,
}

#[async_trait]
impl Probe for Answers {
    async fn check(&self, replica: &Replica) -> ProbeOutcome {
        tokio::time::sleep(self.after).await;
        if self.dead.lock().contains(replica.id()) {
            return ProbeOutcome::Unreachable { reason: "refused".into(), gone: true };
        }
        ProbeOutcome::Ready(vec![Reported { info: Silent::new("m").info_of(), load: Load::idle(1) }])
    }
}

fn fleet(answers: &Answers) -> (Fleet, Arc<Pool>) {
    let connect = Box::new(|info: &ModelInfo, _: &Replica| {
        let model: Arc<dyn Model> = Arc::new(Silent::new(&info.id));
        Ok(model)
    });
    let pool = Arc::new(Pool::new(Vec::new(), OutlierOptions::default(), connect, Instant::now()));
    let answers = answers.clone();
    let probe = Box::new(move |_: &Replica| -> Box<dyn Probe> { Box::new(answers.clone()) });
    let seldom = CheckIntervals { healthy: Duration::from_secs(600), unhealthy: Duration::from_secs(600) };
    tokio::spawn(check_members(Arc::clone(&pool), probe, seldom));
    (Fleet::new(Arc::clone(&pool)), pool)
}

fn targets(names: &[&str]) -> Vec<Target> {
    names.iter().map(|name| Target::new(&format!("http://{name}")).expect("a good URL")).collect()
}

fn replica(pool: &Pool, id: &str) -> Arc<Replica> {
    let snapshot = pool.snapshot();
    let state = snapshot.replicas.iter().find(|state| state.replica.id() == id);
    Arc::clone(&state.expect("it is a member").replica)
}

#[tokio::test]
async fn there_is_always_somebody_while_all_replicas_are_replaced() {
    let answers = Answers { after: Duration::from_millis(30), ..Answers::default() };
    let (fleet, pool) = fleet(&answers);
    fleet.apply(&targets(&["a"]), || {}).await;
    until(|| !seats(&pool).is_empty()).await;
    for name in ["b", "c", "d"] {
        let empty = async {
            loop {
                assert!(!seats(&pool).is_empty(), "a moment without a replica");
                tokio::task::yield_now().await;
            }
        };
        let wanted = targets(&[name]);
        tokio::select! {
            () = fleet.apply(&wanted, || assert!(seats(&pool).contains(&name.to_owned()))) => {}
            () = empty => {}
        }
        assert_eq!(seats(&pool), [name]);
    }
}

#[tokio::test]
async fn a_replica_that_can_t_be_reached_does_not_stop_the_others() {
    let answers = Answers::default();
    answers.dead.lock().insert("dead".into());
    let (fleet, pool) = fleet(&answers);
    fleet.apply(&targets(&["a"]), || {}).await;
    fleet.apply(&targets(&["dead", "b"]), || {}).await;
    assert_eq!(seats(&pool), ["b"]);
}

#[tokio::test]
async fn who_comes_back_while_leaving_is_the_same_replica() {
    let (fleet, pool) = fleet(&Answers::default());
    fleet.apply(&targets(&["a", "b"]), || {}).await;
    let a = replica(&pool, "a");
    let lease = a.lease();
    until(|| seats(&pool).len() == 2).await;
    fleet.apply(&targets(&["b"]), || {}).await;
    assert!(a.is_retiring());
    assert_eq!(seats(&pool), ["b"]);
    fleet.apply(&targets(&["a", "b"]), || {}).await;
    assert!(Arc::ptr_eq(&a, &replica(&pool, "a")));
    until(|| seats(&pool).len() == 2).await;
    drop(lease);
}

#[tokio::test]
async fn a_replica_that_is_used_otherwise_from_now_on_is_another_one() {
    let (fleet, pool) = fleet(&Answers::default());
    fleet.apply(&targets(&["a"]), || {}).await;
    until(|| seats(&pool).len() == 1).await;
    let before = replica(&pool, "a");
    let _running = before.lease();
    let mut upstream = llmo_config::UpstreamConfig::new("http://a");
    upstream.models = vec!["m".into()];
    upstream.weight = 3;
    fleet.apply(&[Target::from_config(&upstream).expect("good")], || {}).await;
    let after = replica(&pool, "a");
    assert!(!Arc::ptr_eq(&before, &after) && before.is_retiring() && !after.is_retiring());
    assert_eq!(pool.snapshot().replicas.len(), 2);
}
