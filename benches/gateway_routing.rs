//! What a routing decision costs: each policy, over few and very many replicas that are busy to different degrees. The goal
//! of issue 4 is less than 20 µs over 10 000 replicas, whatever the policy.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use llmo_core::GenerateRequest;
use llmo_gateway::policy::{
    ConsistentHash, LeastRequests, LeastTokens, PickContext, Policy, PowerOfTwo, PrefixAware, PromptKey, RoundRobin,
    choose,
};
use llmo_gateway::replica::{Claim, Lease, Replica, Roster, Seat};

/// Bytes of a prompt: a conversation of some turns.
const PROMPT: usize = 8 << 10;
/// Different prompts; each is asked for again and again.
const PROMPTS: usize = 512;

fn policies() -> Vec<Box<dyn Policy>> {
    vec![
        Box::new(PowerOfTwo),
        Box::new(RoundRobin::default()),
        Box::new(LeastRequests),
        Box::new(LeastTokens),
        Box::new(ConsistentHash::default()),
        Box::new(PrefixAware::with_memory(16 << 20)),
    ]
}

fn routing(c: &mut Criterion) {
    let now = Instant::now();
    let mut group = c.benchmark_group("gateway/pick");
    for replicas in [2, 128, 10_000] {
        let seat = |i| {
            let mut seat = Seat::new(Arc::new(Replica::new(&format!("http://replica-{i}"), now)), now);
            seat.slots = 8;
            seat
        };
        let roster = Roster::new((0..replicas).map(seat).collect());
        let mut leases = Vec::new();
        for (i, seat) in roster.iter().enumerate() {
            seat.latency.record(Duration::from_millis(20 + i as u64 % 7), now);
            let lease = |_| {
                let claim = Claim::new(500, 100).counted(&seat.running, roster.running());
                Lease::new(Arc::clone(&seat.replica), claim)
            };
            leases.extend((0..i % 5).map(lease));
        }
        let prompt = |i: usize| GenerateRequest::complete(format!("{i:>8}").repeat(PROMPT / 8));
        let prompts: Vec<_> = (0..PROMPTS).map(prompt).collect();
        for policy in policies() {
            let (mut rng, mut next) = (fastrand::Rng::with_seed(1), 0);
            let input = (&roster, &prompts);
            // All of it: what the policy wants to know of the prompt, the choice, and remembering it.
            group.bench_with_input(BenchmarkId::new(policy.name(), replicas), &input, |b, (roster, prompts)| {
                b.iter(|| {
                    next = (next + 1) % PROMPTS;
                    let key = PromptKey::new(black_box(&prompts[next]), policy.wants());
                    let context = PickContext::first(now).of(&key);
                    let index = choose(policy.as_ref(), roster, &context, &mut rng);
                    if let Some(index) = index {
                        policy.routed(&roster[index], &context);
                    }
                    index
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, routing);
criterion_main!(benches);
