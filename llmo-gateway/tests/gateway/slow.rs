//! A replica that is half a second slower than the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use llmo_backends::sim::{Fault, SimOptions};
use llmo_gateway::policy::RoundRobin;
use llmo_gateway::router::RouterOptions;

use crate::fleet::{Fleet, words};

const SLOW: Duration = Duration::from_millis(500);

fn fleet(n: usize, slots: u32) -> Fleet {
    let mut sim = SimOptions::default();
    sim.slots = slots;
    // The policy that looks at nothing.
    Fleet::choosing(Arc::new(RoundRobin::default()), n, sim, RouterOptions::default())
}

/// Sends so many requests at once; returns the waits for their first tokens.
async fn ask(fleet: &Fleet, requests: usize) -> Vec<Duration> {
    let model = fleet.model().await;
    let answers = (0..requests).map(|_| async {
        let begun = Instant::now();
        let stream = model.generate(words(1)).await.expect("an answer");
        let wait = begun.elapsed();
        stream.collect_all().await.expect("whole");
        wait
    });
    join_all(answers).await
}

fn ejected(fleet: &Fleet) -> Vec<String> {
    let events = fleet.pool.events().latest();
    events.into_iter().filter(|event| event.what == "ejected").map(|event| event.replica).collect()
}

#[tokio::test]
async fn a_slow_replica_is_left_out_whatever_the_policy() {
    let fleet = fleet(3, 64);
    fleet.sims[0].faults().always(Fault::Delay(SLOW));
    ask(&fleet, 30).await;
    assert_eq!(ejected(&fleet), ["r0"]);
    let mut waits = Vec::new();
    for _ in 0..20 {
        waits.extend(ask(&fleet, 10).await);
    }
    waits.sort_unstable();
    assert!(waits[waits.len() * 99 / 100] < SLOW / 2, "{waits:?}");
}

#[tokio::test]
async fn who_is_quick_again_stays_when_it_comes_back() {
    let fleet = fleet(2, 64);
    fleet.sims[0].faults().always(Fault::Delay(SLOW));
    ask(&fleet, 20).await;
    assert_eq!(ejected(&fleet), ["r0"]);
    fleet.sims[0].faults().clear();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    fleet.pool.release(&fleet.replicas[0], Instant::now());
    let before = fleet.replicas[0].totals().0;
    for _ in 0..10 {
        ask(&fleet, 20).await;
    }
    assert!(fleet.replicas[0].totals().0 > before, "it gets requests again");
    assert_eq!(ejected(&fleet).len(), 1);
}

#[tokio::test]
async fn where_all_are_slow_nobody_is() {
    let fleet = fleet(3, 64);
    fleet.sims.iter().for_each(|sim| sim.faults().always(Fault::Delay(SLOW)));
    ask(&fleet, 40).await;
    assert_eq!(ejected(&fleet), [""; 0]);
}

#[tokio::test]
async fn a_slow_replica_serves_while_the_others_have_no_room() {
    let fleet = fleet(2, 4);
    let weigh = |id: &str, weight| assert!(fleet.pool.set_weight(id, weight, Instant::now()));
    weigh("r0", 0.0);
    ask(&fleet, 10).await;
    let model = fleet.model().await;
    let long = join_all((0..4).map(|_| model.generate(words(1_000)))).await;
    weigh("r0", 1.0);
    // Nearly everything goes to the slow one.
    weigh("r1", 1e-6);
    fleet.sims[0].faults().always(Fault::Delay(SLOW));
    ask(&fleet, 8).await;
    assert_eq!(ejected(&fleet), [""; 0]);
    drop(long);
    ask(&fleet, 8).await;
    assert_eq!(ejected(&fleet), ["r0"]);
}
