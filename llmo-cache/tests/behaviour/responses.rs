//! [`ResponseCache`] over a simulated model: what comes from the cache, what never gets there, and what a broken cache
//! costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use llmo_backends::sim::{Fault, SimModel, SimOptions};
use llmo_cache::response::{ResponseCache, ResponseCachePolicy, key};
use llmo_core::model::{CacheStatus, CacheUse, Delta, Event, Finish, SamplingParams};
use llmo_core::{Cache, EmbedRequest, GenerateRequest, Model, PutOptions};

use crate::broken_cache::BrokenCache;
use crate::cached_sim::{Setup, policy, setup, setup_with, written};

fn question() -> GenerateRequest {
    GenerateRequest::ask("What is the capital of France?").max_tokens(20)
}

async fn ask(model: &dyn Model, request: GenerateRequest) -> (CacheStatus, Delta, Finish) {
    let stream = model.generate(request).await.unwrap();
    let status = stream.origin.cache;
    let (delta, finish) = stream.collect_all().await.unwrap();
    (status, delta, finish)
}

#[tokio::test]
async fn the_second_answer_is_a_hit_and_the_same() {
    let Setup { cached, .. } = setup();
    let mut request = question();
    request.logprobs = Some(2);
    let (status, first, first_finish) = ask(&cached, request.clone()).await;
    assert_eq!(status, CacheStatus::Miss);
    written(&cached, 1).await;
    let (status, second, second_finish) = ask(&cached, request).await;
    assert_eq!(status, CacheStatus::Hit);
    assert_eq!(first, second, "text, tokens and log probabilities");
    assert_eq!((first_finish.reason, first_finish.usage), (second_finish.reason, second_finish.usage));
    let counts = cached.stats().counts();
    assert_eq!((counts.hits, counts.misses), (1, 1));
    assert_eq!(counts.saved_tokens, first_finish.usage.total());
}

#[tokio::test]
async fn a_stop_string_is_told_again() {
    let Setup { cached, .. } = setup();
    let (_, first, _) = ask(&cached, question()).await;
    let stop = first.text.split(' ').nth(3).unwrap().to_owned();
    let request = question().stop(stop.clone());
    let (_, text, _) = ask(&cached, request.clone()).await;
    written(&cached, 2).await;
    let (status, again, finish) = ask(&cached, request).await;
    assert_eq!(status, CacheStatus::Hit);
    assert_eq!(finish.stop, Some(stop));
    assert_eq!(text, again);
}

#[tokio::test]
async fn a_hit_is_a_stream_of_several_deltas_and_one_finish() {
    let Setup { cached, .. } = setup();
    ask(&cached, question()).await;
    written(&cached, 1).await;
    let events: Vec<_> = cached.generate(question()).await.unwrap().collect().await;
    let deltas = events.iter().filter(|event| matches!(event, Ok(Event::Delta(_)))).count();
    assert!(deltas > 2, "{events:?}");
    assert_eq!(deltas + 1, events.len());
    assert!(matches!(events.last(), Some(Ok(Event::Finish(_)))));
}

#[tokio::test]
async fn an_unpredictable_request_is_never_cached_and_a_seeded_one_is() {
    let Setup { cached, memory, .. } = setup();
    let mut sampling = SamplingParams::at_temperature(0.8);
    let (status, ..) = ask(&cached, question().sampling(sampling.clone())).await;
    assert_eq!(status, CacheStatus::Bypass);
    sampling.seed = Some(7);
    let (status, ..) = ask(&cached, question().sampling(sampling.clone())).await;
    assert_eq!(status, CacheStatus::Miss);
    written(&cached, 1).await;
    assert_eq!(ask(&cached, question().sampling(sampling)).await.0, CacheStatus::Hit);
    assert_eq!(memory.stats().await.unwrap().entries, 1);
}

#[tokio::test]
async fn no_store_neither_reads_nor_writes() {
    let Setup { cached, memory, .. } = setup();
    ask(&cached, question()).await;
    written(&cached, 1).await;
    let gets = memory.stats().await.unwrap().hits + memory.stats().await.unwrap().misses;
    let mut request = question();
    request.cache = CacheUse::Off;
    assert_eq!(ask(&cached, request).await.0, CacheStatus::Bypass);
    let stats = memory.stats().await.unwrap();
    assert_eq!((stats.hits + stats.misses, stats.puts), (gets, 1));
}

#[tokio::test]
async fn refresh_writes_without_reading() {
    let Setup { cached, .. } = setup();
    ask(&cached, question()).await;
    written(&cached, 1).await;
    let mut request = question();
    request.cache = CacheUse::Refresh;
    assert_eq!(ask(&cached, request).await.0, CacheStatus::Bypass);
    written(&cached, 2).await;
}

#[tokio::test]
async fn tenants_do_not_see_each_others_answers() {
    let Setup { cached, memory, .. } = setup();
    let mut request = question();
    request.tenant = Some("a".into());
    ask(&cached, request.clone()).await;
    written(&cached, 1).await;
    assert_eq!(ask(&cached, request.clone()).await.0, CacheStatus::Hit);
    request.tenant = Some("b".into());
    assert_eq!(ask(&cached, request).await.0, CacheStatus::Miss);
    written(&cached, 2).await;
    assert_eq!(memory.remove_tag("tenant:a").await.unwrap(), 1);
    assert_eq!(memory.remove_tag("model:sim").await.unwrap(), 1);
}

/// Reads an answer to its end, whatever that is, then waits for a complete one: a write of the first would come earlier.
async fn nothing_is_kept_of(cached: &ResponseCache, request: GenerateRequest) {
    let stream = cached.generate(request.clone()).await.unwrap();
    let _ = stream.collect::<Vec<_>>().await;
    ask(cached, question().max_tokens(3)).await;
    written(cached, 1).await;
    let counts = cached.stats().counts();
    assert_eq!((counts.writes, counts.write_failures, counts.dropped_writes), (1, 0, 0));
    assert_ne!(ask(cached, request).await.0, CacheStatus::Hit);
}

#[tokio::test]
async fn a_failed_generation_is_not_kept() {
    let Setup { cached, sim, .. } = setup();
    sim.faults().next(1, Fault::error_after(5));
    nothing_is_kept_of(&cached, question()).await;
}

#[tokio::test]
async fn a_generation_that_ends_without_a_finish_is_not_kept() {
    let Setup { cached, sim, .. } = setup();
    sim.faults().next(1, Fault::EndAfter(5));
    nothing_is_kept_of(&cached, question()).await;
}

#[tokio::test]
async fn a_cancelled_generation_is_not_kept_and_frees_its_slot() {
    let Setup { cached, sim, .. } = setup();
    let mut stream = cached.generate(question()).await.unwrap();
    for _ in 0..5 {
        stream.next().await.unwrap().unwrap();
    }
    drop(stream);
    assert_eq!(sim.load().slots_free, sim.load().slots);
    assert_eq!(ask(&cached, question()).await.0, CacheStatus::Miss);
    written(&cached, 1).await;
    assert_eq!(cached.stats().counts().writes, 1);
}

#[tokio::test]
async fn an_answer_above_the_size_limit_is_passed_on_and_not_kept() {
    let mut policy = policy();
    policy.max_entry_bytes = 64;
    let Setup { cached, .. } = setup_with(SimOptions::default(), policy);
    let (_, delta, _) = ask(&cached, question()).await;
    assert_eq!(delta.tokens.len(), 20);
    assert_eq!(cached.stats().counts().too_large, 1);
    assert_eq!(ask(&cached, question()).await.0, CacheStatus::Miss);
}

#[tokio::test]
async fn a_tampered_entry_is_a_miss_and_removed() {
    let Setup { cached, memory, sim } = setup();
    let (_, good, _) = ask(&cached, question()).await;
    written(&cached, 1).await;
    let key = key::generation(sim.info(), &question()).unwrap();
    let mut bytes = memory.get(&key).await.unwrap().expect("the entry is under its key").value.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    memory.put(&key, bytes.clone().into(), PutOptions::default()).await.unwrap();

    // Dropped at once, so that no good answer takes the place of the bad entry.
    let stream = cached.generate(question()).await.unwrap();
    assert_eq!(stream.origin.cache, CacheStatus::Miss);
    drop(stream);
    assert_eq!(memory.get(&key).await.unwrap(), None);
    assert_eq!(cached.stats().counts().corrupt, 1);

    let (_, again, _) = ask(&cached, question()).await;
    assert_eq!(again, good);
    written(&cached, 2).await;
    assert_eq!(ask(&cached, question()).await.0, CacheStatus::Hit);
}

#[tokio::test]
async fn a_cache_that_fails_is_bypassed() {
    let cached = ResponseCache::new(Arc::new(SimModel::new(SimOptions::default())), BrokenCache::refusing(), policy());
    let (status, delta, _) = ask(&cached, question()).await;
    assert_eq!(status, CacheStatus::Bypass);
    assert_eq!(delta.tokens.len(), 20);
    assert_eq!(cached.stats().counts().lookup_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_hangs_costs_the_budget_and_nothing_more() {
    let model = Arc::new(SimModel::new(SimOptions::default()));
    let cached = ResponseCache::new(model, BrokenCache::hanging(), ResponseCachePolicy::default());
    let start = tokio::time::Instant::now();
    assert_eq!(ask(&cached, question()).await.0, CacheStatus::Bypass);
    assert!(start.elapsed() <= Duration::from_millis(21), "{:?}", start.elapsed());

    let start = tokio::time::Instant::now();
    let embedded = cached.embed(EmbedRequest::new((0..200).map(|n| n.to_string()))).await.unwrap();
    assert_eq!((embedded.vectors.len(), embedded.origin.cache), (200, CacheStatus::Bypass));
    assert!(start.elapsed() <= Duration::from_millis(21), "{:?}", start.elapsed());
}

#[tokio::test]
async fn writes_that_hang_are_bounded_and_nobody_waits_for_them() {
    let mut policy = policy();
    policy.max_pending_writes = 3;
    policy.write_timeout = Duration::from_secs(3600);
    let cached =
        ResponseCache::new(Arc::new(SimModel::new(SimOptions::default())), BrokenCache::hanging_on_writes(), policy);
    let start = Instant::now();
    for n in 0..10 {
        let (status, ..) = ask(&cached, GenerateRequest::ask(n.to_string()).max_tokens(2)).await;
        assert_eq!(status, CacheStatus::Miss);
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(cached.stats().counts().dropped_writes, 7);
}

#[tokio::test]
async fn a_deadline_is_not_spent_on_the_cache() {
    let cached = ResponseCache::new(Arc::new(SimModel::new(SimOptions::default())), BrokenCache::hanging(), policy());
    let start = Instant::now();
    let request = question().deadline_after(start, Duration::from_millis(50));
    let _ = cached.generate(request).await;
    assert!(start.elapsed() < Duration::from_secs(4), "the budget is five seconds, the deadline 50 ms");
}
