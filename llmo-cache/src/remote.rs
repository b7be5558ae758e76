//! A cache shared through llmo's cache service (`llmo-server cache`).
//!
//! [`wire`] is the protocol, used by both sides. Answers that come too late are given up; after a few of them in a row
//! the service is left alone for a growing, capped time, so that a hung service costs callers next to nothing.

mod options;
mod reply;
pub mod wire;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use llmo_core::cache::Result;
use llmo_core::trace;
use llmo_core::{Cache, CacheError, CacheKey, CacheStats, Entry, PutOptions};
use parking_lot::Mutex;
use reqwest::{Client, Method, RequestBuilder, StatusCode};

use crate::breaker::{Breaker, BreakerPolicy, Outcome};
use crate::counters::Counters;
pub use options::RemoteOptions;

/// Bytes in a cache service.
pub struct RemoteCache {
    client: Client,
    base_url: String,
    options: RemoteOptions,
    breaker: Mutex<Breaker>,
    counters: Counters,
}

// === impl RemoteCache ===

impl RemoteCache {
    /// A client of the service at `base_url`, e.g. `http://127.0.0.1:9090`. Does not connect yet.
    ///
    /// # Errors
    /// [`CacheError::Unavailable`] if the URL is none.
    pub fn new(base_url: &str, options: RemoteOptions) -> Result<Self> {
        let unusable = |error: &dyn std::fmt::Display| {
            CacheError::Unavailable(format!("the URL of the cache service, {base_url:?}, can't be used: {error}"))
        };
        let url = reqwest::Url::parse(base_url).map_err(|error| unusable(&error))?;
        if url.scheme() != "http" || url.host_str().is_none() {
            return Err(unusable(&"it must begin with http:// and name a host"));
        }
        // The service is a neighbour: a proxy of the environment is not meant for it.
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(options.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unusable(&error))?;
        Ok(Self {
            client,
            base_url: base_url.trim_end_matches('/').to_owned(),
            options,
            breaker: Mutex::new(Breaker::closed(BreakerPolicy::default())),
            counters: Counters::default(),
        })
    }

    /// Is the circuit to the service closed, that is, was the last sign of it a good one?
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.breaker.lock().is_closed()
    }

    fn entry(&self, method: Method, key: &CacheKey) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{}/{key}", self.base_url, wire::ENTRIES_PATH));
        // Its log and ours tell of the same request.
        let work = trace::current();
        let headers = work.iter().flat_map(|work| work.headers());
        headers.fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Runs one exchange within `limit` and the circuit breaker.
    async fn within<T>(&self, limit: Duration, exchange: impl Future<Output = Result<T, Failure>>) -> Result<T> {
        let Some(permit) = self.breaker.lock().admit(Instant::now()) else {
            return Err(CacheError::Unavailable("the cache service failed and is left alone for a while".into()));
        };
        let (outcome, result) = match tokio::time::timeout(limit, exchange).await {
            Err(_) => (Outcome::Failed, Err(CacheError::Timeout)),
            Ok(Err(Failure::Transport(error))) => {
                let outcome = if error.is_connect() { Outcome::Gone } else { Outcome::Failed };
                (outcome, Err(CacheError::Unavailable(error.to_string())))
            }
            Ok(Err(Failure::Refused(error))) => (Outcome::Answered, Err(error)),
            Ok(Ok(value)) => (Outcome::Answered, Ok(value)),
        };
        self.breaker.lock().settle(permit, outcome, Instant::now());
        result
    }

    /// A removal over many keys.
    async fn sweep(&self, query: (&str, &str)) -> Result<u64> {
        let url = reqwest::Url::parse_with_params(&format!("{}{}", self.base_url, wire::ENTRIES_PATH), [query])
            .map_err(|error| CacheError::Unavailable(error.to_string()))?;
        let request = self.client.delete(url);
        let swept = self
            .within(self.options.long_timeout, async {
                let response = reply::checked(request.send().await?).await?;
                Ok(response.json::<wire::Removed>().await?.removed)
            })
            .await;
        self.counted(swept)
    }

    fn counted<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.counters.failed();
        }
        outcome
    }
}

#[async_trait]
impl Cache for RemoteCache {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let outcome = self
            .within(self.options.timeout, async {
                let response = self.entry(Method::GET, key).send().await?;
                if response.status() == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                reply::entry(reply::checked(response).await?, self.options.max_entry_bytes).await.map(Some)
            })
            .await;
        self.counters.got(&outcome);
        outcome
    }

    async fn put(&self, key: &CacheKey, value: Bytes, options: PutOptions) -> Result<()> {
        let (size, limit) = (value.len() as u64, self.options.max_entry_bytes);
        if size > limit {
            return Err(CacheError::TooLarge { size, limit });
        }
        let mut request = self.entry(Method::PUT, key).body(value);
        if let Some(ttl) = options.ttl {
            request = request.header(wire::TTL_HEADER, ttl.as_millis().to_string());
        }
        if !options.tags.is_empty() {
            request = request.header(wire::TAGS_HEADER, wire::encode_tags(&options.tags));
        }
        let outcome = self
            .within(self.options.timeout, async {
                reply::checked(request.send().await?).await.map_err(|failure| failure.with_size(size))?;
                Ok(())
            })
            .await;
        self.counters.put(&outcome);
        outcome
    }

    async fn remove(&self, key: &CacheKey) -> Result<bool> {
        let removed = self
            .within(self.options.timeout, async {
                let response = self.entry(Method::DELETE, key).send().await?;
                if response.status() == StatusCode::NOT_FOUND {
                    return Ok(false);
                }
                reply::checked(response).await.map(|_| true)
            })
            .await;
        self.counted(removed)
    }

    async fn remove_tag(&self, tag: &str) -> Result<u64> {
        self.sweep((wire::TAG_PARAMETER, tag)).await
    }

    async fn clear(&self) -> Result<()> {
        self.sweep((wire::ALL_PARAMETER, "true")).await.map(|_| ())
    }

    /// This client's counters; evictions, entries and bytes are the service's, and zero while it can't be asked.
    async fn stats(&self) -> Result<CacheStats> {
        let request = self.client.get(format!("{}{}", self.base_url, wire::STATS_PATH));
        let service = self
            .within(self.options.long_timeout, async {
                Ok(reply::checked(request.send().await?).await?.json::<CacheStats>().await?)
            })
            .await
            .unwrap_or_default();
        let mut stats = self.counters.stats();
        stats.evictions = service.evictions;
        stats.entries = service.entries;
        stats.bytes = service.bytes;
        Ok(stats)
    }

    fn tier(&self) -> &'static str {
        "remote"
    }
}

impl std::fmt::Debug for RemoteCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteCache").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// Why an exchange gave no answer.
#[derive(Debug)]
enum Failure {
    /// The service could not be reached or broke off.
    Transport(reqwest::Error),
    /// The service works and said no.
    Refused(CacheError),
}

impl Failure {
    /// Fills in what only the sender knows.
    fn with_size(mut self, sent: u64) -> Self {
        if let Self::Refused(CacheError::TooLarge { size, .. }) = &mut self {
            *size = sent;
        }
        self
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(error.without_url())
    }
}
