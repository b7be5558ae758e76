//! Asking the cache, within a budget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use llmo_core::model::CacheStatus;
use llmo_core::{Cache, CacheError, CacheKey};
use tokio::time::timeout;

use super::codec::{self, Stored};
use super::stats::ResponseCacheStats;

/// Lookups under way at once for one batch.
const CONCURRENT: usize = 64;

/// What a lookup found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found<T> {
    /// The answer.
    Hit(T),
    /// None, or a damaged one, which is removed.
    Miss,
    /// The cache did not answer.
    Failed,
}

impl<T> Found<T> {
    pub(super) fn status(&self) -> CacheStatus {
        match self {
            Self::Hit(_) => CacheStatus::Hit,
            Self::Miss => CacheStatus::Miss,
            Self::Failed => CacheStatus::Bypass,
        }
    }
}

/// Reads answers from a cache.
pub(super) struct Lookup {
    pub(super) cache: Arc<dyn Cache>,
    pub(super) budget: Duration,
    pub(super) stats: Arc<ResponseCacheStats>,
}

impl Lookup {
    /// The answer under `key`. Takes no longer than the budget, or than until the deadline.
    pub(super) async fn find<T: Stored>(&self, key: &CacheKey, deadline: Option<Instant>) -> Found<T> {
        timeout(self.budget(deadline), self.ask(key)).await.unwrap_or_else(|_| self.too_slow())
    }

    /// The answers under `keys`, in their order, all within the budget of one lookup.
    pub(super) async fn find_all<T: Stored>(&self, keys: &[CacheKey], deadline: Option<Instant>) -> Vec<Found<T>> {
        let mut found: Vec<Option<Found<T>>> = keys.iter().map(|_| None).collect();
        let asking = futures::stream::iter(0..keys.len())
            .map(|n| async move { (n, self.ask(&keys[n]).await) })
            .buffer_unordered(CONCURRENT)
            .for_each(|(n, answer)| {
                found[n] = Some(answer);
                std::future::ready(())
            });
        // What did answer in time is used, whatever became of the rest.
        let _ = timeout(self.budget(deadline), asking).await;
        found.into_iter().map(|answer| answer.unwrap_or_else(|| self.too_slow())).collect()
    }

    fn budget(&self, deadline: Option<Instant>) -> Duration {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.map_or(self.budget, |left| left.min(self.budget))
    }

    fn too_slow<T>(&self) -> Found<T> {
        self.stats.lookup_failed();
        Found::Failed
    }

    async fn ask<T: Stored>(&self, key: &CacheKey) -> Found<T> {
        match self.cache.get(key).await {
            Ok(None) => Found::Miss,
            Ok(Some(entry)) => match codec::decode(key, &entry.value) {
                Ok(value) => Found::Hit(value),
                Err(error) => {
                    tracing::warn!(%key, %error, "a damaged entry of the response cache is removed");
                    self.stats.found_corrupt();
                    // Before the new answer is written, which this must not remove.
                    if let Err(error) = self.cache.remove(key).await {
                        tracing::warn!(%key, %error, "the damaged entry could not be removed");
                    }
                    Found::Miss
                }
            },
            Err(CacheError::Corrupt(reason)) => {
                tracing::warn!(%key, reason, "the cache found a damaged entry");
                self.stats.found_corrupt();
                Found::Miss
            }
            Err(error) => {
                tracing::debug!(%key, %error, "the response cache can't be asked");
                self.stats.lookup_failed();
                Found::Failed
            }
        }
    }
}
