//! What a Redis that dies, hangs or is not there costs the callers of [`RedisCache`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::eventually::eventually;
use crate::redis_server::{RedisServer, free_port};
use llmo_backends::sim::{SimModel, SimOptions};
use llmo_cache::redis::{RedisCache, RedisOptions};
use llmo_cache::response::{ResponseCache, ResponseCachePolicy};
use llmo_core::model::CacheStatus;
use llmo_core::{Cache, CacheError, CacheKey, GenerateRequest, Model, PutOptions};

const TIMEOUT: Duration = Duration::from_millis(20);
/// What a busy test machine may add to a deadline.
const SLACK: Duration = Duration::from_millis(230);

fn key(name: &str) -> CacheKey {
    CacheKey::new(name).unwrap()
}

async fn is_served(cache: &RedisCache) -> bool {
    cache.put(&key("k"), "value".into(), PutOptions::default()).await.is_ok()
        && cache.get(&key("k")).await.is_ok_and(|entry| entry.is_some())
}

/// The 99th percentile of how long `gets` reads take, each of which must fail.
async fn p99_of_failing_gets(cache: &RedisCache, gets: usize) -> Duration {
    let mut times = Vec::with_capacity(gets);
    for _ in 0..gets {
        let start = Instant::now();
        assert!(cache.get(&key("k")).await.is_err());
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times[gets * 99 / 100]
}

#[tokio::test]
async fn a_killed_redis_fails_at_once_and_is_used_again_when_it_is_back() {
    let mut server = RedisServer::start();
    let cache = RedisCache::connect(RedisOptions::new(server.url())).await.unwrap();
    eventually("the first Redis is used", async || is_served(&cache).await).await;
    server.kill();
    let p99 = p99_of_failing_gets(&cache, 1000).await;
    assert!(p99 <= TIMEOUT, "{p99:?}");
    assert!(!cache.is_up());
    server.restart();
    eventually("the second Redis is used", async || is_served(&cache).await).await;
}

#[tokio::test]
async fn a_hung_redis_costs_no_more_than_the_timeout_and_soon_nothing() {
    let server = RedisServer::start();
    let cache = RedisCache::connect(RedisOptions::new(server.url())).await.unwrap();
    eventually("Redis is used", async || is_served(&cache).await).await;
    server.hang();
    let start = Instant::now();
    assert!(matches!(cache.get(&key("k")).await, Err(CacheError::Timeout)));
    assert!(start.elapsed() < TIMEOUT + SLACK, "{:?}", start.elapsed());
    let p99 = p99_of_failing_gets(&cache, 1000).await;
    assert!(p99 <= TIMEOUT, "{p99:?}");
    server.resume();
    eventually("Redis is used again", async || is_served(&cache).await).await;
}

/// What callers of a model feel of its cache: how often it was bypassed, and the 99th percentile of their waiting.
async fn ask_through(cache: RedisCache, requests: usize) -> (usize, Duration) {
    let model = Arc::new(SimModel::new(SimOptions::default()));
    let cached = ResponseCache::new(model, Arc::new(cache), ResponseCachePolicy::default());
    let (mut bypassed, mut times) = (0, Vec::with_capacity(requests));
    for n in 0..requests {
        let start = Instant::now();
        let stream = cached.generate(GenerateRequest::ask(n.to_string()).max_tokens(2)).await.unwrap();
        bypassed += usize::from(stream.origin.cache == CacheStatus::Bypass);
        stream.collect_all().await.unwrap();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    (bypassed, times[requests * 99 / 100])
}

#[tokio::test]
async fn a_model_behind_a_dead_redis_is_served_without_it() {
    let url = format!("redis://127.0.0.1:{}/", free_port());
    let cache = RedisCache::connect(RedisOptions::new(url)).await.unwrap();
    let (bypassed, p99) = ask_through(cache, 1000).await;
    assert_eq!(bypassed, 1000);
    assert!(p99 <= TIMEOUT, "{p99:?}");
}

#[tokio::test]
async fn a_model_behind_a_redis_that_answers_after_five_seconds_is_served_without_it() {
    let server = RedisServer::start();
    let cache = RedisCache::connect(RedisOptions::new(server.url())).await.unwrap();
    eventually("Redis is used", async || is_served(&cache).await).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut raw = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("CLIENT").arg("PAUSE").arg(5000).arg("ALL").exec_async(&mut raw).await.unwrap();
    let (bypassed, p99) = ask_through(cache, 1000).await;
    assert_eq!(bypassed, 1000);
    assert!(p99 <= TIMEOUT, "{p99:?}");
}

#[tokio::test]
async fn many_callers_of_a_hung_redis_all_come_back_in_time() {
    let server = RedisServer::start();
    let cache = RedisCache::connect(RedisOptions::new(server.url())).await.unwrap();
    eventually("Redis is used", async || is_served(&cache).await).await;
    server.hang();
    let start = Instant::now();
    let outcomes = futures::future::join_all((0..500).map(|_| async { cache.get(&key("k")).await })).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert!(start.elapsed() < TIMEOUT + SLACK, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_redis_that_is_not_there_does_not_stop_anybody_from_starting() {
    let start = Instant::now();
    let url = format!("redis://127.0.0.1:{}/", free_port());
    let cache = RedisCache::connect(RedisOptions::new(url)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
    let p99 = p99_of_failing_gets(&cache, 1000).await;
    assert!(p99 <= TIMEOUT, "{p99:?}");
    let stats = cache.stats().await.unwrap();
    assert_eq!(stats.errors, 1000);
}

#[tokio::test]
async fn nobody_waits_for_a_host_that_swallows_packets() {
    // A listener whose backlog nobody reads: connections are made, and nothing is ever answered.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = RedisOptions::new(format!("redis://{}/", listener.local_addr().unwrap()));
    options.connect_timeout = Duration::from_millis(200);
    let start = Instant::now();
    let cache = RedisCache::connect(options).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
    let p99 = p99_of_failing_gets(&cache, 200).await;
    assert!(p99 <= TIMEOUT, "{p99:?}");
}

#[tokio::test]
async fn an_error_of_redis_itself_is_reported_and_does_not_open_the_circuit() {
    let server = RedisServer::start();
    let cache = RedisCache::connect(RedisOptions::new(server.url())).await.unwrap();
    eventually("Redis is used", async || is_served(&cache).await).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut raw = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1mb").exec_async(&mut raw).await.unwrap();
    for _ in 0..5 {
        let put = cache.put(&key("k"), vec![0; 2 << 20].into(), PutOptions::default()).await;
        assert!(put.is_err(), "out of memory");
    }
    eventually("reads still work", async || cache.get(&key("k")).await.is_ok()).await;
}
