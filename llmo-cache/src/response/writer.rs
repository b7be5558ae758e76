//! Writing answers in the background.

use std::sync::Arc;
use std::time::Duration;

use llmo_core::{Cache, CacheError, CacheKey, PutOptions};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::codec::{self, Stored};
use super::stats::ResponseCacheStats;

/// Writes to a cache, so many at once at most. What comes when all are busy is dropped and counted: a slow cache must
/// not become a queue in memory. Clones share the limit.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) cache: Arc<dyn Cache>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) timeout: Duration,
    pub(super) stats: Arc<ResponseCacheStats>,
}

impl Writer {
    /// Starts writing these answers, one after the other, and returns at once.
    pub(super) fn write<T: Stored>(&self, answers: Vec<(CacheKey, T)>, options: PutOptions) {
        let (Ok(permit), Ok(runtime)) = (Arc::clone(&self.permits).try_acquire_owned(), Handle::try_current()) else {
            answers.iter().for_each(|_| self.stats.write_dropped());
            return;
        };
        let writer = self.clone();
        runtime.spawn(async move {
            for (key, answer) in answers {
                writer.write_one(&key, &answer, options.clone()).await;
            }
            drop(permit);
        });
    }

    async fn write_one<T: Stored>(&self, key: &CacheKey, answer: &T, options: PutOptions) {
        let Some(entry) = codec::encode(key, answer) else { return };
        match timeout(self.timeout, self.cache.put(key, entry, options)).await.unwrap_or(Err(CacheError::Timeout)) {
            Ok(()) => self.stats.written(),
            Err(CacheError::TooLarge { .. }) => self.stats.was_too_large(),
            Err(error) => {
                tracing::debug!(%key, %error, "an answer was not kept");
                self.stats.write_failed();
            }
        }
    }
}
