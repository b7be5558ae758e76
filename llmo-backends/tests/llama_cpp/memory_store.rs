//! A store in memory that tests can look into.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use llmo_core::store::{ByteStream, Result, StorePutOptions};
use llmo_core::{GetOptions, ObjectMeta, ObjectStream, Store, StoreError, StorePath};
use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct MemoryStore {
    pub(crate) objects: Mutex<BTreeMap<StorePath, Bytes>>,
    /// How often something was read.
    pub(crate) reads: AtomicUsize,
    /// How often it was listed.
    pub(crate) lists: AtomicUsize,
}

impl MemoryStore {
    fn find(&self, path: &StorePath) -> Result<Bytes> {
        self.objects.lock().get(path).cloned().ok_or_else(|| StoreError::NotFound(path.to_string()))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, path: &StorePath, options: GetOptions) -> Result<ObjectStream> {
        let bytes = self.find(path)?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        let meta = ObjectMeta::new(path.clone(), bytes.len() as u64, 0);
        let start = options.offset as usize;
        let end = options.length.map_or(bytes.len(), |length| bytes.len().min(start + length as usize));
        let part = bytes.slice(start..end);
        Ok(ObjectStream { meta, range: start as u64..end as u64, data: stream::once(async { Ok(part) }).boxed() })
    }

    async fn put(&self, path: &StorePath, mut data: ByteStream, _: StorePutOptions) -> Result<ObjectMeta> {
        let mut bytes = Vec::new();
        while let Some(chunk) = data.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        let meta = ObjectMeta::new(path.clone(), bytes.len() as u64, 0);
        self.objects.lock().insert(path.clone(), bytes.into());
        Ok(meta)
    }

    async fn head(&self, path: &StorePath) -> Result<ObjectMeta> {
        Ok(ObjectMeta::new(path.clone(), self.find(path)?.len() as u64, 0))
    }

    async fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectMeta>> {
        let objects = self.objects.lock();
        let under = objects.iter().filter(|(path, _)| prefix.is_none_or(|prefix| path.is_under(prefix)));
        let found = under.map(|(path, bytes)| ObjectMeta::new(path.clone(), bytes.len() as u64, 0)).collect();
        self.lists.fetch_add(1, Ordering::SeqCst);
        Ok(found)
    }

    async fn delete(&self, path: &StorePath) -> Result<()> {
        let removed = self.objects.lock().remove(path);
        removed.map(drop).ok_or_else(|| StoreError::NotFound(path.to_string()))
    }

    fn kind(&self) -> &'static str {
        "memory"
    }
}
