//! What the response cache costs a request: its key, the lookup in memory, and a whole hit through the layer.
// A bench that can't be set up has nothing to measure.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llmo_backends::sim::{SimModel, SimOptions};
use llmo_cache::memory::{MemoryCache, MemoryOptions};
use llmo_cache::response::{ResponseCache, ResponseCachePolicy, key};
use llmo_core::model::CacheStatus;
use llmo_core::{Cache, CacheKey, GenerateRequest, Model, PutOptions};
use tokio::runtime::Runtime;

fn key_derivation(c: &mut Criterion) {
    let model = SimModel::new(SimOptions::default());
    let mut group = c.benchmark_group("cache/key");
    for bytes in [100, 10_000] {
        let request = GenerateRequest::ask("x".repeat(bytes)).max_tokens(100);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::from_parameter(bytes), &request, |b, request| {
            b.iter(|| key::generation(model.info(), black_box(request)));
        });
    }
    group.finish();
}

fn lookup(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let cache = MemoryCache::new(MemoryOptions::default());
    let key = |n: u32| CacheKey::new(format!("bench:{n}")).expect("a good key");
    runtime.block_on(async {
        for n in 0..10_000 {
            let value = vec![0; 1000].into();
            cache.put(&key(n), value, PutOptions::default().tag("bench")).await.expect("a put");
        }
    });
    let (hit, miss) = (key(77), key(u32::MAX));
    let mut group = c.benchmark_group("cache/memory");
    group.bench_function("hit", |b| b.to_async(&runtime).iter(|| cache.get(black_box(&hit))));
    group.bench_function("miss", |b| b.to_async(&runtime).iter(|| cache.get(black_box(&miss))));
    group.finish();
}

fn whole_hit(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let model = ResponseCache::new(
        Arc::new(SimModel::new(SimOptions::default())),
        Arc::new(MemoryCache::new(MemoryOptions::default())),
        ResponseCachePolicy::default(),
    );
    let request = GenerateRequest::ask("What is the capital of France?").max_tokens(50);
    let answer = || async {
        let stream = model.generate(request.clone()).await.expect("a stream");
        let cache = stream.origin.cache;
        let (answer, _) = stream.collect_all().await.expect("an answer");
        (cache, answer.text.len())
    };
    // The first answer is written in the background.
    while runtime.block_on(answer()).0 != CacheStatus::Hit {}
    c.bench_function("cache/layer/hit_of_50_tokens", |b| b.to_async(&runtime).iter(answer));
}

criterion_group!(benches, key_derivation, lookup, whole_hit);
criterion_main!(benches);
