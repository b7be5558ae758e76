//! What a routing decision costs: each policy, over few and many replicas that are busy to different degrees.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use llmo_gateway::policy::{LeastRequests, PickContext, Policy, PowerOfTwo, RoundRobin};
use llmo_gateway::replica::{Replica, Seat};

fn routing(c: &mut Criterion) {
    let policies: [Box<dyn Policy>; 3] =
        [Box::new(PowerOfTwo), Box::new(RoundRobin::default()), Box::new(LeastRequests)];
    let now = Instant::now();
    let mut group = c.benchmark_group("gateway/pick");
    for replicas in [2, 16, 128] {
        let seat = |i| Seat::new(Arc::new(Replica::new(&format!("http://replica-{i}"), now)), now);
        let seats: Vec<Seat> = (0..replicas).map(seat).collect();
        let mut leases = Vec::new();
        for (i, seat) in seats.iter().enumerate() {
            seat.latency.record(Duration::from_millis(20 + i as u64 % 7), now);
            leases.extend((0..i % 5).map(|_| seat.replica.lease()));
        }
        for policy in &policies {
            let mut rng = fastrand::Rng::with_seed(1);
            group.bench_with_input(BenchmarkId::new(policy.name(), replicas), &seats, |b, seats| {
                b.iter(|| policy.pick(black_box(seats), &PickContext::first(now), &mut rng));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, routing);
criterion_main!(benches);
