//! The suite for caches.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::wait::{in_time, ok, until};
use crate::cache::{Cache, CacheError, CacheKey, PutOptions};

/// What the suite has to know of the cache.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CacheSuite {
    /// Longest wait for anything.
    pub patience: Duration,
    /// The time to live that is tried out.
    pub ttl: Duration,
    /// An entry of this many bytes is refused as too large; `None`: there is no limit worth trying.
    pub too_large: Option<usize>,
    /// `stats` counts what this test does. False where others use the same cache.
    pub counts: bool,
}

impl Default for CacheSuite {
    fn default() -> Self {
        Self { patience: Duration::from_secs(10), ttl: Duration::from_millis(300), too_large: None, counts: true }
    }
}

impl CacheSuite {
    /// An entry of this many bytes must be refused.
    #[must_use]
    pub fn too_large(mut self, bytes: usize) -> Self {
        self.too_large = Some(bytes);
        self
    }
}

/// Checks that a cache keeps the trait's contract. It is emptied.
///
/// # Panics
/// If it doesn't.
pub async fn check(cache: Arc<dyn Cache>, options: CacheSuite) {
    let patience = options.patience.saturating_mul(10);
    in_time("the whole suite", patience, async {
        let cache = cache.as_ref();
        ok("clear", cache.clear().await);
        entries_are_put_read_replaced_and_removed(cache).await;
        any_bytes_are_values(cache).await;
        entries_end_with_their_time(cache, &options).await;
        a_tag_removes_its_entries_and_no_others(cache).await;
        a_replaced_entry_has_only_its_new_tags(cache).await;
        entries_that_are_too_large_are_refused_without_harm(cache, &options).await;
        clients_at_the_same_time_see_whole_values(cache).await;
        the_counters_move(cache, &options).await;
        clear_removes_everything(cache).await;
    })
    .await;
}

fn key(name: &str) -> CacheKey {
    ok("a key", CacheKey::new(format!("conformance:{name}")))
}

async fn get(cache: &dyn Cache, name: &str) -> Option<Bytes> {
    ok("get", cache.get(&key(name)).await).map(|entry| entry.value)
}

async fn put(cache: &dyn Cache, name: &str, value: &[u8], options: PutOptions) {
    ok("put", cache.put(&key(name), Bytes::copy_from_slice(value), options).await);
}

async fn entries_are_put_read_replaced_and_removed(cache: &dyn Cache) {
    let rule = "an entry is there from put to remove";
    assert_eq!(get(cache, "a").await, None, "{rule}: before");
    assert!(!ok(rule, cache.remove(&key("a")).await), "{rule}: nothing to remove");
    put(cache, "a", b"one", PutOptions::default()).await;
    put(cache, "b", b"other", PutOptions::default()).await;
    assert_eq!(get(cache, "a").await.as_deref(), Some(b"one".as_slice()), "{rule}");
    put(cache, "a", b"two", PutOptions::default()).await;
    assert_eq!(get(cache, "a").await.as_deref(), Some(b"two".as_slice()), "{rule}: replaced");
    assert!(ok(rule, cache.remove(&key("a")).await), "{rule}: removed");
    assert_eq!(get(cache, "a").await, None, "{rule}: after");
    assert_eq!(get(cache, "b").await.as_deref(), Some(b"other".as_slice()), "{rule}: the others stay");
}

async fn any_bytes_are_values(cache: &dyn Cache) {
    let rule = "any bytes are a value";
    let all: Vec<u8> = (0..=255u8).cycle().take(70_000).collect();
    for (name, value) in [("empty", &[][..]), ("zero", &[0]), ("lines", b"\r\n\r\n\0"), ("all", &all)] {
        put(cache, name, value, PutOptions::default()).await;
        assert_eq!(get(cache, name).await.as_deref(), Some(value), "{rule}: {name}");
    }
}

async fn entries_end_with_their_time(cache: &dyn Cache, options: &CacheSuite) {
    let rule = "an entry ends with its time to live";
    put(cache, "short", b"x", PutOptions::ttl(options.ttl)).await;
    put(cache, "long", b"y", PutOptions::ttl(options.patience.saturating_mul(20))).await;
    put(cache, "renewed", b"old", PutOptions::ttl(options.ttl)).await;
    put(cache, "renewed", b"new", PutOptions::default()).await;
    let entry = ok(rule, cache.get(&key("long")).await);
    if let Some(left) = entry.and_then(|entry| entry.ttl) {
        assert!(left <= options.patience.saturating_mul(20), "{rule}: {left:?} left is more than was given");
    }
    until(rule, options.patience, async || get(cache, "short").await.is_none()).await;
    assert_eq!(get(cache, "long").await.as_deref(), Some(b"y".as_slice()), "{rule}: the others stay");
    assert_eq!(get(cache, "renewed").await.as_deref(), Some(b"new".as_slice()), "{rule}: a new put has its own time");
}

async fn a_tag_removes_its_entries_and_no_others(cache: &dyn Cache) {
    let rule = "remove_tag removes the entries with the tag and no others";
    put(cache, "t1", b"1", PutOptions::default().tag("model:m")).await;
    put(cache, "t2", b"2", PutOptions::default().tag("tenant:a").tag("model:m")).await;
    put(cache, "t3", b"3", PutOptions::default().tag("model:m2")).await;
    put(cache, "t4", b"4", PutOptions::default()).await;
    assert_eq!(ok(rule, cache.remove_tag("no such tag").await), 0, "{rule}");
    ok(rule, cache.remove_tag("model:m").await);
    for (name, stays) in [("t1", false), ("t2", false), ("t3", true), ("t4", true)] {
        assert_eq!(get(cache, name).await.is_some(), stays, "{rule}: {name}");
    }
    put(cache, "t1", b"again", PutOptions::default().tag("model:m")).await;
    assert_eq!(get(cache, "t1").await.as_deref(), Some(b"again".as_slice()), "{rule}: put again afterwards");
}

async fn a_replaced_entry_has_only_its_new_tags(cache: &dyn Cache) {
    let rule = "an entry that is replaced has only its new tags";
    put(cache, "moved", b"1", PutOptions::default().tag("old")).await;
    put(cache, "moved", b"2", PutOptions::default().tag("new")).await;
    ok(rule, cache.remove_tag("old").await);
    assert_eq!(get(cache, "moved").await.as_deref(), Some(b"2".as_slice()), "{rule}");
    ok(rule, cache.remove_tag("new").await);
    assert_eq!(get(cache, "moved").await, None, "{rule}");
}

async fn entries_that_are_too_large_are_refused_without_harm(cache: &dyn Cache, options: &CacheSuite) {
    let rule = "an entry that is too large is refused and harms nothing";
    let Some(bytes) = options.too_large else { return };
    put(cache, "small", b"stays", PutOptions::default()).await;
    let result = cache.put(&key("large"), Bytes::from(vec![7; bytes]), PutOptions::default()).await;
    assert!(matches!(result, Err(CacheError::TooLarge { .. })), "{rule}: {result:?}");
    assert_eq!(get(cache, "large").await, None, "{rule}");
    assert_eq!(get(cache, "small").await.as_deref(), Some(b"stays".as_slice()), "{rule}");
}

async fn clients_at_the_same_time_see_whole_values(cache: &dyn Cache) {
    let rule = "clients at the same time see whole values of the right key";
    join_all((0..32u8).map(|client| async move {
        // Four clients share each key and write different values of one length.
        let name = format!("shared{}", client % 8);
        for round in 0..8u8 {
            let value = [client % 8, client, round].repeat(500);
            put(cache, &name, &value, PutOptions::default()).await;
            let Some(seen) = get(cache, &name).await else { continue };
            assert!(seen.len() == 1500 && seen.chunks(3).all(|chunk| chunk == &seen[..3]), "{rule}: a torn value");
            assert_eq!(seen[0], client % 8, "{rule}: the value of another key");
        }
    }))
    .await;
}

async fn the_counters_move(cache: &dyn Cache, options: &CacheSuite) {
    let rule = "the counters count";
    let before = ok(rule, cache.stats().await);
    put(cache, "counted", b"12345", PutOptions::default()).await;
    get(cache, "counted").await;
    get(cache, "not-there").await;
    let after = ok(rule, cache.stats().await);
    if !options.counts {
        return;
    }
    assert!(after.puts > before.puts, "{rule}: puts, from {before:?} to {after:?}");
    assert!(after.hits > before.hits, "{rule}: hits, from {before:?} to {after:?}");
    assert!(after.misses > before.misses, "{rule}: misses, from {before:?} to {after:?}");
}

async fn clear_removes_everything(cache: &dyn Cache) {
    let rule = "clear removes everything";
    put(cache, "last", b"x", PutOptions::default().tag("t")).await;
    ok(rule, cache.clear().await);
    for name in ["last", "b", "long", "shared0", "all"] {
        assert_eq!(get(cache, name).await, None, "{rule}: {name}");
    }
    put(cache, "last", b"y", PutOptions::default()).await;
    assert_eq!(get(cache, "last").await.as_deref(), Some(b"y".as_slice()), "{rule}: and the cache works on");
    ok(rule, cache.clear().await);
}
