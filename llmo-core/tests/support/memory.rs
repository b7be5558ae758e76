//! A cache and a store that are maps: the least that passes the suites.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use llmo_core::cache::{Cache, CacheError, CacheKey, CacheStats, Entry, PutOptions};
use llmo_core::store::{
    ByteStream, GetOptions, ObjectMeta, ObjectStream, Store, StoreError, StorePath, StorePutOptions,
};

pub(crate) const LARGEST: usize = 100_000;

/// A value, when it ends, its tags.
type Stored = (Bytes, Option<Instant>, Vec<String>);

#[derive(Default)]
pub(crate) struct MapCache {
    pub(crate) entries: Mutex<BTreeMap<String, Stored>>,
    pub(crate) stats: Mutex<CacheStats>,
    /// Times to live are ignored: a fault for the suite to find.
    pub(crate) immortal: bool,
}

#[async_trait]
impl Cache for MapCache {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, CacheError> {
        let entries = self.entries.lock().unwrap();
        let live = |end: &Option<Instant>| self.immortal || end.is_none_or(|end| Instant::now() < end);
        let found =
            entries.get(key.as_str()).filter(|(_, end, _)| live(end)).map(|(value, ..)| Entry::new(value.clone()));
        let mut stats = self.stats.lock().unwrap();
        *(if found.is_some() { &mut stats.hits } else { &mut stats.misses }) += 1;
        Ok(found)
    }

    async fn put(&self, key: &CacheKey, value: Bytes, options: PutOptions) -> Result<(), CacheError> {
        if value.len() > LARGEST {
            return Err(CacheError::TooLarge { size: value.len() as u64, limit: LARGEST as u64 });
        }
        let end = options.ttl.map(|ttl: Duration| Instant::now() + ttl);
        self.entries.lock().unwrap().insert(key.as_str().into(), (value, end, options.tags));
        self.stats.lock().unwrap().puts += 1;
        Ok(())
    }

    async fn remove(&self, key: &CacheKey) -> Result<bool, CacheError> {
        Ok(self.entries.lock().unwrap().remove(key.as_str()).is_some())
    }

    async fn remove_tag(&self, tag: &str) -> Result<u64, CacheError> {
        let mut entries = self.entries.lock().unwrap();
        let before = entries.len();
        entries.retain(|_, (_, _, tags)| !tags.iter().any(|t| t == tag));
        Ok((before - entries.len()) as u64)
    }

    async fn clear(&self) -> Result<(), CacheError> {
        self.entries.lock().unwrap().clear();
        Ok(())
    }

    async fn stats(&self) -> Result<CacheStats, CacheError> {
        Ok(*self.stats.lock().unwrap())
    }

    fn tier(&self) -> &'static str {
        "memory"
    }
}

#[derive(Default)]
pub(crate) struct MapStore {
    pub(crate) objects: Mutex<BTreeMap<StorePath, Bytes>>,
    /// What came before a failure is stored: a fault for the suite to find.
    pub(crate) keeps_parts: bool,
}

#[async_trait]
impl Store for MapStore {
    async fn get(&self, path: &StorePath, options: GetOptions) -> Result<ObjectStream, StoreError> {
        let meta = self.head(path).await?;
        let all = self.objects.lock().unwrap()[path].clone();
        if options.offset > meta.size {
            return Err(StoreError::InvalidRange { offset: options.offset, size: meta.size });
        }
        let end = options.length.map_or(meta.size, |length| options.offset.saturating_add(length).min(meta.size));
        let part = all.slice(options.offset as usize..end as usize);
        let pieces: Vec<_> = part.chunks(1 << 16).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(ObjectStream { meta, range: options.offset..end, data: stream::iter(pieces).boxed() })
    }

    async fn put(&self, path: &StorePath, mut data: ByteStream, o: StorePutOptions) -> Result<ObjectMeta, StoreError> {
        let mut all = Vec::new();
        while let Some(piece) = data.try_next().await? {
            all.extend_from_slice(&piece);
            if self.keeps_parts {
                self.objects.lock().unwrap().insert(path.clone(), all.clone().into());
            }
        }
        if let Some(expected) = o.expected_size.filter(|expected| *expected != all.len() as u64) {
            return Err(StoreError::SizeMismatch { path: path.to_string(), expected, actual: all.len() as u64 });
        }
        // The suite's only sound hash is that of "abc".
        if let Some(expected) = o.expected_sha256.filter(|_| all != b"abc") {
            return Err(StoreError::HashMismatch { path: path.to_string(), expected, actual: "other".into() });
        }
        self.objects.lock().unwrap().insert(path.clone(), all.into());
        self.head(path).await
    }

    async fn head(&self, path: &StorePath) -> Result<ObjectMeta, StoreError> {
        let objects = self.objects.lock().unwrap();
        let object = objects.get(path).ok_or_else(|| StoreError::NotFound(path.to_string()))?;
        Ok(ObjectMeta::new(path.clone(), object.len() as u64, 0))
    }

    async fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectMeta>, StoreError> {
        let objects = self.objects.lock().unwrap();
        let below = objects.iter().filter(|(path, _)| prefix.is_none_or(|prefix| path.is_under(prefix)));
        Ok(below.map(|(path, bytes)| ObjectMeta::new(path.clone(), bytes.len() as u64, 0)).collect())
    }

    async fn delete(&self, path: &StorePath) -> Result<(), StoreError> {
        let gone = self.objects.lock().unwrap().remove(path);
        gone.map(drop).ok_or_else(|| StoreError::NotFound(path.to_string()))
    }

    fn kind(&self) -> &'static str {
        "memory"
    }
}
