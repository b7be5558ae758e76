//! Properties that every policy has, and those of each.

use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::*;

use super::*;
use crate::replica::Lease;

fn policies() -> Vec<Arc<dyn Policy>> {
    vec![Arc::new(PowerOfTwo), Arc::new(RoundRobin::default()), Arc::new(LeastRequests)]
}

fn seats(n: usize, now: Instant) -> Vec<Seat> {
    (0..n).map(|i| Seat::new(Arc::new(Replica::new(&format!("http://replica-{i}"), now)), now)).collect()
}

fn occupy(seats: &[Seat], requests: &[u32]) -> Vec<Lease> {
    let busy = seats.iter().zip(requests);
    busy.flat_map(|(seat, &n)| (0..n).map(|_| seat.replica.lease()).collect::<Vec<_>>()).collect()
}

/// Dispatches `requests` that never end; returns how many each seat got.
fn spread(policy: &dyn Policy, seats: &[Seat], requests: usize, now: Instant, seed: u64) -> Vec<u32> {
    let mut rng = Rng::with_seed(seed);
    let mut leases = Vec::new();
    for _ in 0..requests {
        let index = policy.pick(seats, &PickContext::first(now), &mut rng).expect("there are seats");
        leases.push(seats[index].replica.lease());
    }
    seats.iter().map(|seat| seat.replica.in_flight()).collect()
}

proptest! {
    #[test]
    fn a_pick_is_open_and_exists_whenever_one_is_open(
        load in prop::collection::vec(0_u32..20, 0..12),
        tried in prop::collection::vec(any::<bool>(), 12),
        seed in any::<u64>(),
    ) {
        let now = Instant::now();
        let seats = seats(load.len(), now);
        let _leases = occupy(&seats, &load);
        let tried: Vec<_> =
            seats.iter().zip(&tried).filter(|(_, t)| **t).map(|(s, _)| Arc::clone(&s.replica)).collect();
        let context = PickContext { now, tried: &tried };
        for policy in policies() {
            let pick = policy.pick(&seats, &context, &mut Rng::with_seed(seed));
            prop_assert_eq!(pick.is_some(), tried.len() < seats.len(), "{}", policy.name());
            prop_assert!(pick.is_none_or(|i| context.open(&seats[i])), "{}", policy.name());
        }
    }

    #[test]
    fn equal_replicas_get_equal_shares(n in 2_usize..12, seed in any::<u64>()) {
        let now = Instant::now();
        for policy in policies() {
            let shares = spread(policy.as_ref(), &seats(n, now), n * 50, now, seed);
            let (least, most) = (shares.iter().min().expect("some"), shares.iter().max().expect("some"));
            prop_assert!(most - least <= 8, "{}: {shares:?}", policy.name());
        }
    }

    #[test]
    fn least_requests_takes_a_least_loaded_one(load in prop::collection::vec(0_u32..20, 1..12), seed in any::<u64>()) {
        let now = Instant::now();
        let seats = seats(load.len(), now);
        let _leases = occupy(&seats, &load);
        let pick = LeastRequests.pick(&seats, &PickContext::first(now), &mut Rng::with_seed(seed));
        prop_assert_eq!(pick.map(|i| load[i]), load.iter().min().copied());
    }

    #[test]
    fn power_of_two_never_takes_the_single_costliest(load in prop::collection::vec(0_u32..20, 2..12), seed in any::<u64>()) {
        let now = Instant::now();
        let mut load = load;
        load[0] = 100;
        let seats = seats(load.len(), now);
        let _leases = occupy(&seats, &load);
        let pick = PowerOfTwo.pick(&seats, &PickContext::first(now), &mut Rng::with_seed(seed));
        prop_assert_ne!(pick, Some(0));
    }
}

#[test]
fn ties_are_broken_by_chance() {
    let now = Instant::now();
    let seats = seats(4, now);
    for policy in policies() {
        let mut rng = Rng::with_seed(7);
        let mut count = [0_u32; 4];
        for _ in 0..4_000 {
            count[policy.pick(&seats, &PickContext::first(now), &mut rng).expect("there are seats")] += 1;
        }
        assert!(count.iter().all(|n| (850..1_150).contains(n)), "{}: {count:?}", policy.name());
    }
}

#[test]
fn power_of_two_avoids_a_slow_replica_at_equal_load() {
    let now = Instant::now();
    let seats = seats(3, now);
    for _ in 0..5 {
        seats[0].latency.record(Duration::from_millis(550), now);
        seats[1].latency.record(Duration::from_millis(50), now);
        seats[2].latency.record(Duration::from_millis(50), now);
    }
    let mut rng = Rng::with_seed(1);
    let slow = (0..1_000).filter(|_| PowerOfTwo.pick(&seats, &PickContext::first(now), &mut rng) == Some(0)).count();
    assert_eq!(slow, 0, "each pair has a cheaper seat");
}

#[test]
fn noise_in_latencies_does_not_send_everything_to_one_replica() {
    let now = Instant::now();
    let seats = seats(2, now);
    seats[0].latency.record(Duration::from_millis(12), now);
    seats[1].latency.record(Duration::from_millis(8), now);
    let mut rng = Rng::with_seed(1);
    let first = (0..1_000).filter(|_| PowerOfTwo.pick(&seats, &PickContext::first(now), &mut rng) == Some(0)).count();
    assert!((400..600).contains(&first), "{first} of 1000");
}

#[test]
fn a_slow_replica_is_tried_again_after_a_while() {
    let now = Instant::now();
    let seats = seats(2, now);
    seats[0].latency.record(Duration::from_millis(550), now);
    let _busy = occupy(&seats, &[0, 1]);
    let pick = |now| PowerOfTwo.pick(&seats, &PickContext::first(now), &mut Rng::with_seed(3));
    assert_eq!(pick(now), Some(1));
    assert_eq!(pick(now + Duration::from_secs(60)), Some(0));
}

#[test]
fn a_replica_that_came_back_gets_its_share_slowly() {
    let now = Instant::now();
    let mut seats = seats(4, now);
    seats[0].warm_from = Some(now);
    for policy in policies() {
        let cold = spread(policy.as_ref(), &seats, 400, now, 5)[0];
        assert!(cold < 40, "{}: {cold} of 400", policy.name());
    }
}

#[test]
fn round_robin_takes_each_in_turn() {
    let now = Instant::now();
    let seats = seats(3, now);
    let policy = RoundRobin::default();
    let picks: Vec<_> = (0..6).map(|_| policy.pick(&seats, &PickContext::first(now), &mut Rng::with_seed(0))).collect();
    assert_eq!(picks, [0, 1, 2, 0, 1, 2].map(Some));
}
