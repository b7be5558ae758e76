//! Caches that don't work.

use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use llmo_core::cache::Result;
use llmo_core::{Cache, CacheError, CacheKey, CacheStats, Entry, PutOptions};

/// What happens to a call.
#[derive(Clone, Copy)]
enum Way {
    Refuse,
    Hang,
    FindNothing,
}

/// A cache without entries that refuses, hangs, or does so for writes only.
pub(crate) struct BrokenCache {
    reads: Way,
    writes: Way,
}

impl BrokenCache {
    /// Every call fails at once.
    pub(crate) fn refusing() -> Arc<Self> {
        Arc::new(Self { reads: Way::Refuse, writes: Way::Refuse })
    }

    /// No call ever returns.
    pub(crate) fn hanging() -> Arc<Self> {
        Arc::new(Self { reads: Way::Hang, writes: Way::Hang })
    }

    /// Reads find nothing, writes never return.
    pub(crate) fn hanging_on_writes() -> Arc<Self> {
        Arc::new(Self { reads: Way::FindNothing, writes: Way::Hang })
    }
}

async fn go<T: Default>(way: Way) -> Result<T> {
    match way {
        Way::Refuse => Err(CacheError::Unavailable("broken".into())),
        Way::Hang => pending().await,
        Way::FindNothing => Ok(T::default()),
    }
}

#[async_trait]
impl Cache for BrokenCache {
    async fn get(&self, _: &CacheKey) -> Result<Option<Entry>> {
        go(self.reads).await
    }

    async fn put(&self, _: &CacheKey, _: Bytes, _: PutOptions) -> Result<()> {
        go(self.writes).await
    }

    async fn remove(&self, _: &CacheKey) -> Result<bool> {
        go(self.writes).await
    }

    async fn remove_tag(&self, _: &str) -> Result<u64> {
        go(self.writes).await
    }

    async fn clear(&self) -> Result<()> {
        go(self.writes).await
    }

    async fn stats(&self) -> Result<CacheStats> {
        go(self.reads).await
    }

    fn tier(&self) -> &'static str {
        "broken"
    }
}
