//! Every cache keeps the contract of the trait.

use std::sync::Arc;
use std::time::Duration;

use llmo_cache::memory::{MemoryCache, MemoryOptions};
use llmo_cache::redis::{RedisCache, RedisOptions};
use llmo_cache::tiered::{TieredCache, TieredOptions};
use llmo_core::conformance::cache::{CacheSuite, check};
use llmo_core::{Cache, CacheKey, PutOptions};

use crate::redis_server::RedisServer;

const MAX_ENTRY_BYTES: u64 = 1 << 20;

fn suite() -> CacheSuite {
    CacheSuite::default().too_large(MAX_ENTRY_BYTES as usize + 1)
}

fn memory() -> Arc<dyn Cache> {
    let mut options = MemoryOptions::default();
    options.max_entry_bytes = MAX_ENTRY_BYTES;
    Arc::new(MemoryCache::new(options))
}

async fn redis(server: &RedisServer) -> Arc<dyn Cache> {
    let mut options = RedisOptions::new(server.url());
    options.max_entry_bytes = MAX_ENTRY_BYTES;
    // For a busy test machine.
    options.timeout = Duration::from_secs(5);
    options.long_timeout = Duration::from_secs(5);
    Arc::new(RedisCache::connect(options).await.unwrap())
}

#[tokio::test]
async fn memory_conforms() {
    check(memory(), suite()).await;
}

#[tokio::test]
async fn redis_conforms() {
    let server = RedisServer::start();
    check(redis(&server).await, suite()).await;
}

#[tokio::test]
async fn memory_in_front_of_redis_conforms() {
    let server = RedisServer::start();
    let tiered = TieredCache::new(memory(), redis(&server).await, TieredOptions::default());
    check(Arc::new(tiered), suite()).await;
}

#[tokio::test]
async fn memory_in_front_of_a_dead_redis_serves_and_says_what_it_could_not_remove() {
    let mut server = RedisServer::start();
    let second = redis(&server).await;
    server.kill();
    let tiered = TieredCache::new(memory(), second, TieredOptions::default());
    let key = CacheKey::new("k").unwrap();
    tiered.put(&key, "value".into(), PutOptions::default()).await.unwrap();
    assert!(tiered.get(&key).await.unwrap().is_some());
    assert!(tiered.clear().await.is_err());
    assert!(tiered.get(&key).await.unwrap().is_none());
}
