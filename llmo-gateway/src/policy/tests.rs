//! Properties that every policy has, and those of each.

use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::*;

use super::*;
use crate::replica::{Claim, Lease, ReplicaState, Reported, Served, Snapshot};
use crate::test_models::Silent;
use llmo_core::model::{Load, Residence, ResidenceState};

fn policies() -> Vec<Arc<dyn Policy>> {
    vec![
        Arc::new(PowerOfTwo),
        Arc::new(RoundRobin::default()),
        Arc::new(LeastRequests),
        Arc::new(LeastTokens),
        Arc::new(ConsistentHash::default()),
        Arc::new(PrefixAware::with_memory(1 << 16)),
    ]
}

fn seats(n: usize, now: Instant) -> Roster {
    changed(n, now, |_, _| {})
}

fn changed(n: usize, now: Instant, mut change: impl FnMut(usize, &mut Seat)) -> Roster {
    let seat = |i| {
        let mut seat = Seat::new(Arc::new(Replica::new(&format!("http://replica-{i}"), now)), now);
        change(i, &mut seat);
        seat
    };
    Roster::new((0..n).map(seat).collect())
}

/// A request of a hundred tokens at this seat.
fn sent(roster: &Roster, index: usize) -> Lease {
    let seat = &roster[index];
    Lease::new(Arc::clone(&seat.replica), Claim::new(100, 0).counted(&seat.running, roster.running()))
}

fn occupy(seats: &Roster, requests: &[u32]) -> Vec<Lease> {
    let busy = requests.iter().take(seats.len()).enumerate();
    busy.flat_map(|(i, &n)| (0..n).map(move |_| sent(seats, i))).collect()
}

/// Dispatches `requests` that never end; returns how many each seat got.
fn spread(policy: &dyn Policy, seats: &Roster, requests: usize, now: Instant, seed: u64) -> Vec<u32> {
    let mut rng = Rng::with_seed(seed);
    let mut leases = Vec::new();
    for _ in 0..requests {
        let index = policy.pick(seats, &PickContext::first(now), &mut rng).expect("there are seats");
        leases.push(sent(seats, index));
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
        let context = PickContext::first(now).without(&tried);
        for policy in policies() {
            let pick = policy.pick(&seats, &context, &mut Rng::with_seed(seed));
            prop_assert_eq!(pick.is_some(), tried.len() < seats.len(), "{}", policy.name());
            prop_assert!(pick.is_none_or(|i| context.open(&seats[i])), "{}", policy.name());
        }
    }

    #[test]
    fn equal_replicas_get_equal_shares(n in 2_usize..12, seed in any::<u64>()) {
        let now = Instant::now();
        // A ring is even only up to the bound: see below.
        for policy in policies().into_iter().filter(|policy| !matches!(policy.wants(), Wants::Key(_))) {
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
    for policy in policies() {
        let seats = changed(4, now, |i, seat| seat.warm_from = (i == 0).then_some(now));
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

proptest! {
    #[test]
    fn bounded_load_holds_for_any_keys(
        n in 1_usize..12,
        keys in prop::collection::vec(0_u64..4, 1..120),
        seed in any::<u64>(),
    ) {
        let now = Instant::now();
        let seats = seats(n, now);
        let (policy, mut rng, mut leases) = (ConsistentHash::default(), Rng::with_seed(seed), Vec::new());
        for (sent_before, key) in keys.into_iter().enumerate() {
            let mut context = PickContext::first(now);
            context.key = Some(xxhash_rust::xxh3::xxh3_64(&key.to_le_bytes()));
            let index = policy.pick(&seats, &context, &mut rng).expect("there are seats");
            leases.push(sent(&seats, index));
            // The theorem: at most ceil(c × requests / bins), c = 1.25.
            let bound = (1.25 * (sent_before + 1) as f64 / n as f64).ceil();
            prop_assert!(f64::from(seats[index].replica.in_flight()) <= bound, "{bound}");
        }
    }

    #[test]
    fn a_key_stays_where_it_is_while_there_is_room(n in 1_usize..20, key in any::<u64>(), seed in any::<u64>()) {
        let now = Instant::now();
        let seats = changed(n, now, |_, seat| seat.slots = 8);
        let mut context = PickContext::first(now);
        context.key = Some(key);
        let (policy, mut rng) = (ConsistentHash::default(), Rng::with_seed(seed));
        let first = policy.pick(&seats, &context, &mut rng).expect("there are seats");
        let _busy: Vec<_> = (0..7).map(|_| sent(&seats, first)).collect();
        prop_assert_eq!(policy.pick(&seats, &context, &mut rng), Some(first));
        let _full = sent(&seats, first);
        let next = policy.pick(&seats, &context, &mut rng);
        prop_assert!(n == 1 || next != Some(first));
    }

    #[test]
    fn least_tokens_takes_a_least_loaded_one(load in prop::collection::vec(0_u64..5_000, 1..12), seed in any::<u64>()) {
        let now = Instant::now();
        let seats = seats(load.len(), now);
        let lease = |(seat, &tokens): (&Seat, &u64)| Lease::new(Arc::clone(&seat.replica), Claim::new(tokens, 0));
        let _leases: Vec<_> = seats.iter().zip(&load).map(lease).collect();
        let pick = LeastTokens.pick(&seats, &PickContext::first(now), &mut Rng::with_seed(seed));
        prop_assert_eq!(pick.map(|i| load[i]), load.iter().min().copied());
    }

    #[test]
    fn affinity_never_takes_a_replica_much_fuller_than_another(
        load in prop::collection::vec(0_u32..40, 2..10),
        holder in 0_usize..10,
        seed in any::<u64>(),
    ) {
        let now = Instant::now();
        let seats = changed(load.len(), now, |_, seat| seat.slots = 4);
        let holder = holder % load.len();
        let policy = PrefixAware::with_memory(1 << 16);
        let mut context = PickContext::first(now);
        context.blocks = &[1, 2, 3];
        policy.routed(&seats[holder], &context);
        let _leases = occupy(&seats, &load);
        let pick = policy.pick(&seats, &context, &mut Rng::with_seed(seed)).expect("there are seats");
        let occupancy = |i: usize| seats[i].occupancy(now);
        let least = (0..load.len()).map(occupancy).fold(f64::MAX, f64::min);
        let balanced = |i: usize| occupancy(i) <= least * 1.5 || occupancy(i) - least <= 0.5;
        prop_assert!(balanced(pick));
        if balanced(holder) {
            prop_assert_eq!(pick, holder);
        }
    }

    #[test]
    fn of_very_many_replicas_a_sample_finds_one_of_the_least_loaded(seed in any::<u64>()) {
        let now = Instant::now();
        let seats = seats(1_000, now);
        let load: Vec<u32> = (0..1_000).map(|i| i / 100).collect();
        let _leases = occupy(&seats, &load);
        for policy in [&LeastRequests as &dyn Policy, &LeastTokens] {
            let pick = policy.pick(&seats, &PickContext::first(now), &mut Rng::with_seed(seed)).expect("there are seats");
            prop_assert!(load[pick] <= 3, "{}", load[pick]);
        }
    }
}

#[test]
fn long_requests_weigh_more_than_many_short_ones() {
    let now = Instant::now();
    let seats = seats(2, now);
    let _long = Lease::new(Arc::clone(&seats[0].replica), Claim::new(8_000, 500));
    let _short: Vec<_> = (0..5).map(|_| Lease::new(Arc::clone(&seats[1].replica), Claim::new(20, 20))).collect();
    let context = PickContext::first(now);
    assert_eq!(LeastTokens.pick(&seats, &context, &mut Rng::with_seed(1)), Some(1));
    assert_eq!(LeastRequests.pick(&seats, &context, &mut Rng::with_seed(1)), Some(0));
}

#[test]
fn a_full_kv_cache_counts() {
    let now = Instant::now();
    let seats = seats(2, now);
    let mut load = Load::idle(1);
    load.kv_used = 0.95;
    seats[0].replica.report([load].iter());
    assert_eq!(LeastTokens.pick(&seats, &PickContext::first(now), &mut Rng::with_seed(1)), Some(1));
}

#[test]
fn a_prompt_follows_its_beginning_and_strangers_go_by_load() {
    let now = Instant::now();
    let seats = changed(4, now, |_, seat| seat.slots = 8);
    let (policy, mut rng) = (PrefixAware::with_memory(1 << 16), Rng::with_seed(1));
    let mut context = PickContext::first(now);
    context.blocks = &[1, 2, 3, 4];
    policy.routed(&seats[2], &context);
    let _busy = sent(&seats, 2);
    context.blocks = &[1, 2, 3, 9];
    assert_eq!(policy.pick(&seats, &context, &mut rng), Some(2), "three of four blocks are there");
    context.blocks = &[1, 8, 8, 8];
    assert_ne!(policy.pick(&seats, &context, &mut rng), Some(2), "a quarter is not worth it, and 2 is busy");
    context.blocks = &[7, 7];
    assert_ne!(policy.pick(&seats, &context, &mut rng), Some(2));
}

#[test]
fn one_hot_prompt_does_not_go_to_one_replica_only() {
    let now = Instant::now();
    let seats = changed(4, now, |_, seat| seat.slots = 8);
    let (policy, mut rng, mut leases) = (PrefixAware::with_memory(1 << 16), Rng::with_seed(1), Vec::new());
    let mut context = PickContext::first(now);
    context.blocks = &[1, 2, 3, 4];
    for _ in 0..64 {
        let index = policy.pick(&seats, &context, &mut rng).expect("there are seats");
        policy.routed(&seats[index], &context);
        leases.push(sent(&seats, index));
    }
    let shares: Vec<u32> = seats.iter().map(|seat| seat.replica.in_flight()).collect();
    assert!(shares.iter().all(|n| (8..=24).contains(n)), "{shares:?}");
}

#[test]
fn shares_follow_weights_also_when_nothing_else_runs() {
    let now = Instant::now();
    for policy in policies() {
        let seats = changed(2, now, |i, seat| {
            seat.weight = if i == 0 { 0.1 } else { 1.0 };
            seat.slots = 4;
        });
        let mut rng = Rng::with_seed(9);
        let mut light = 0;
        for _ in 0..5_000 {
            let mut context = PickContext::first(now);
            // One that hashes sends a key to the ring, whoever is next: weights act on its bounds.
            context.key = (policy.name() == "consistent-hash").then(|| rng.u64(..));
            let index = policy.pick(&seats, &context, &mut rng).expect("there are seats");
            light += u32::from(index == 0);
        }
        if policy.name() != "consistent-hash" {
            assert!((250..750).contains(&light), "{}: {light} of 5000", policy.name());
        }
        let under_load = spread(policy.as_ref(), &seats, 440, now, 3)[0];
        assert!((15..75).contains(&under_load), "{}: {under_load} of 440", policy.name());
    }
}

/// A roster of replicas that have the model in memory, or only on disk.
fn residents(resident: &[bool], now: Instant) -> Snapshot {
    let state = |(i, &resident): (usize, &bool)| {
        let replica = Arc::new(Replica::new(&format!("http://replica-{i}"), now));
        let mut state = ReplicaState::new(replica);
        state.health.on_probe(&crate::replica::ProbeOutcome::Ready(Vec::new()), false, now);
        let silent = Silent::new("m");
        let mut load = Load::idle(1);
        let place = if resident { ResidenceState::Loaded } else { ResidenceState::Absent };
        load.residence = Some(Residence::new(place, 1));
        let reported = Reported { info: silent.info_of(), load };
        state.served.push(Arc::new(Served::new(reported.info, Arc::new(silent), load, now)));
        state
    };
    Snapshot::build(resident.iter().enumerate().map(state).collect(), now)
}

#[test]
fn replicas_that_have_the_model_in_memory_come_first_until_they_are_crowded() {
    let now = Instant::now();
    let snapshot = residents(&[false, true, false], now);
    let route = snapshot.route("m").expect("known");
    assert_eq!(route.seats.resident(), 1);
    for (seat, served) in route.seats.iter().zip(&route.served) {
        let loaded = served.load().residence.is_some_and(|r| r.state == ResidenceState::Loaded);
        assert_eq!(seat.resident, loaded, "seats and models are in one order");
    }
    for policy in policies() {
        let mut rng = Rng::with_seed(2);
        let pick = |rng: &mut Rng, tried: &[Arc<Replica>]| {
            let index = choose(policy.as_ref(), &route.seats, &PickContext::first(now).without(tried), rng);
            index.map(|i| route.seats[i].replica.id().to_owned())
        };
        let busy: Vec<_> = (0..2).map(|_| sent(&route.seats, 0)).collect();
        assert_eq!(pick(&mut rng, &[]).as_deref(), Some("replica-1"), "{}", policy.name());
        let crowd: Vec<_> = (0..3).map(|_| sent(&route.seats, 0)).collect();
        assert_ne!(pick(&mut rng, &[]).as_deref(), Some("replica-1"), "{}", policy.name());
        drop((busy, crowd));
        let tried = [Arc::clone(&route.seats[0].replica)];
        assert!(pick(&mut rng, &tried).is_some_and(|id| id != "replica-1"), "{}", policy.name());
    }
}

#[test]
fn a_ring_outlives_a_replica_s_absence() {
    let now = Instant::now();
    let before = residents(&[true, true, true], now);
    let roster = |snapshot: &Snapshot| -> Vec<u32> {
        let route = snapshot.route("m").expect("known");
        (0..64).filter_map(|key| route.seats.ring().walk(key << 58).next()).collect()
    };
    let mut states = before.replicas.clone();
    states[1].health.on_lost("gone", now, now);
    let after = before.successor(states, now);
    assert_eq!(after.route("m").expect("known").seats.len(), 2);
    assert_eq!(roster(&before), roster(&after));
}
