//! [`TieredCache`]: two tiers behave like one, also while the second is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use llmo_cache::memory::{MemoryCache, MemoryOptions};
use llmo_cache::tiered::{TieredCache, TieredOptions};
use llmo_core::cache::Result;
use llmo_core::{Cache, CacheError, CacheKey, CacheStats, Entry, PutOptions};

/// A memory cache that can be switched off.
struct Switched {
    cache: MemoryCache,
    down: AtomicBool,
}

impl Switched {
    fn check(&self) -> Result<()> {
        if self.down.load(SeqCst) { Err(CacheError::Unavailable("switched off".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Cache for Switched {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>> {
        self.check()?;
        self.cache.get(key).await
    }

    async fn put(&self, key: &CacheKey, value: Bytes, options: PutOptions) -> Result<()> {
        self.check()?;
        self.cache.put(key, value, options).await
    }

    async fn remove(&self, key: &CacheKey) -> Result<bool> {
        self.check()?;
        self.cache.remove(key).await
    }

    async fn remove_tag(&self, tag: &str) -> Result<u64> {
        self.check()?;
        self.cache.remove_tag(tag).await
    }

    async fn clear(&self) -> Result<()> {
        self.check()?;
        self.cache.clear().await
    }

    async fn stats(&self) -> Result<CacheStats> {
        self.check()?;
        self.cache.stats().await
    }

    fn tier(&self) -> &'static str {
        "memory"
    }
}

struct Tiers {
    first: Arc<MemoryCache>,
    second: Arc<Switched>,
    both: TieredCache,
}

fn memory(max_entry_bytes: u64) -> MemoryCache {
    let mut options = MemoryOptions::default();
    options.max_entry_bytes = max_entry_bytes;
    MemoryCache::new(options)
}

fn tiers_of(first_max: u64, second_max: u64) -> Tiers {
    let first = Arc::new(memory(first_max));
    let second = Arc::new(Switched { cache: memory(second_max), down: AtomicBool::new(false) });
    let both = TieredCache::new(first.clone(), second.clone(), TieredOptions::default());
    Tiers { first, second, both }
}

fn tiers() -> Tiers {
    tiers_of(1 << 20, 1 << 20)
}

fn key() -> CacheKey {
    CacheKey::new("k").unwrap()
}

async fn value(cache: &dyn Cache) -> Option<Bytes> {
    cache.get(&key()).await.unwrap().map(|entry| entry.value)
}

#[tokio::test]
async fn writes_go_to_both_tiers() {
    let Tiers { first, second, both } = tiers();
    both.put(&key(), "v".into(), PutOptions::default()).await.unwrap();
    assert_eq!(value(&*first).await.unwrap(), "v");
    assert_eq!(value(&*second).await.unwrap(), "v");
}

#[tokio::test]
async fn reads_promote_with_the_remaining_ttl_and_the_tags() {
    let Tiers { first, second, both } = tiers();
    second.put(&key(), "v".into(), PutOptions::ttl(Duration::from_secs(30)).tag("t")).await.unwrap();
    assert_eq!(value(&both).await.unwrap(), "v");
    let promoted = first.get(&key()).await.unwrap().unwrap();
    assert!(promoted.ttl.unwrap() <= Duration::from_secs(30));
    assert_eq!(both.remove_tag("t").await.unwrap(), 1);
    assert_eq!(value(&both).await, None);
}

#[tokio::test]
async fn a_copy_in_the_first_tier_never_outlives_its_cap() {
    let Tiers { first, both, .. } = tiers();
    both.put(&key(), "v".into(), PutOptions::ttl(Duration::from_secs(3600))).await.unwrap();
    assert!(first.get(&key()).await.unwrap().unwrap().ttl.unwrap() <= Duration::from_secs(60));
}

#[tokio::test]
async fn a_dead_second_tier_is_counted_and_not_felt() {
    let Tiers { second, both, .. } = tiers();
    second.down.store(true, SeqCst);
    assert_eq!(value(&both).await, None);
    both.put(&key(), "v".into(), PutOptions::default()).await.unwrap();
    assert_eq!(value(&both).await.unwrap(), "v");
    assert_eq!(both.second_tier_failures(), 2);
    assert_eq!(both.stats().await.unwrap().entries, 1);
}

#[tokio::test]
async fn what_the_second_tier_missed_is_never_read_from_it_later() {
    let Tiers { first, second, both } = tiers();
    both.put(&key(), "old".into(), PutOptions::default()).await.unwrap();
    second.down.store(true, SeqCst);
    both.put(&key(), "new".into(), PutOptions::default()).await.unwrap();
    second.down.store(false, SeqCst);
    first.clear().await.unwrap();
    assert_eq!(value(&both).await, None, "the new value is forgotten, the old one must not come back");
    both.put(&key(), "newer".into(), PutOptions::default()).await.unwrap();
    first.clear().await.unwrap();
    assert_eq!(value(&both).await.unwrap(), "newer", "the second tier is trusted again");
}

#[tokio::test]
async fn a_removal_that_did_not_reach_the_second_tier_is_an_error_and_still_holds_here() {
    let Tiers { second, both, .. } = tiers();
    both.put(&key(), "v".into(), PutOptions::default()).await.unwrap();
    second.down.store(true, SeqCst);
    assert!(both.remove(&key()).await.is_err());
    assert!(both.remove_tag("t").await.is_err());
    second.down.store(false, SeqCst);
    assert_eq!(value(&both).await, None);
}

#[tokio::test]
async fn a_value_too_large_for_one_tier_leaves_no_old_one_there() {
    for (first_max, second_max) in [(4, 100), (100, 4)] {
        let Tiers { first, second, both } = tiers_of(first_max, second_max);
        both.put(&key(), "old".into(), PutOptions::default()).await.unwrap();
        both.put(&key(), "larger".into(), PutOptions::default()).await.unwrap();
        assert_eq!(value(&both).await.unwrap(), "larger");
        for tier in [&*first as &dyn Cache, &*second] {
            assert_ne!(value(tier).await.as_deref(), Some(&b"old"[..]));
        }
    }
}

#[tokio::test]
async fn a_value_too_large_for_both_is_refused_and_harms_nothing() {
    let Tiers { both, .. } = tiers_of(4, 5);
    both.put(&key(), "old".into(), PutOptions::default()).await.unwrap();
    let error = both.put(&key(), "larger".into(), PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, CacheError::TooLarge { .. }), "{error}");
    assert_eq!(value(&both).await.unwrap(), "old");
}
