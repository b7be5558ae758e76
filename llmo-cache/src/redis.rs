//! A cache shared through Redis (7 or newer, or Valkey).
//!
//! ```text
//!   RedisCache ── keys: <prefix>e:<key> (entries), <prefix>t:<tag> (sorted sets of keys by expiry)
//!       │
//!      Link ────── one multiplexed connection, a deadline on every call, a circuit breaker
//!       └── supervisor task: reconnects in the background, so that callers never wait for a connection
//! ```
//!
//! * Redis is outside of our trust: every value carries a checksum over its key, tags and bytes. One that does not
//!   match is removed and reported as [`CacheError::Corrupt`].
//! * Every entry expires, after [`RedisOptions::max_ttl`] at the latest: nothing of ours stays in a shared server.
//! * A standalone server is expected. Redis Cluster would refuse the transactions, which touch several slots.

mod envelope;
mod keys;
mod link;
mod options;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::{RedisResult, cmd, pipe};
use async_trait::async_trait;
use bytes::Bytes;
use llmo_core::cache::Result;
use llmo_core::{Cache, CacheError, CacheKey, CacheStats, Entry, PutOptions};

use crate::counters::Counters;
use keys::Keys;
use link::{Link, Patience};
pub use options::RedisOptions;

/// Keys handled in one step of `clear` and `remove_tag`: small enough not to hold up Redis' other callers.
const BATCH: usize = 256;
/// How far the clocks of clients may be apart before a tag forgets an entry that still lives.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// Bytes in Redis.
pub struct RedisCache {
    link: Link,
    keys: Keys,
    counters: Counters,
    options: RedisOptions,
}

// === impl RedisCache ===

impl RedisCache {
    /// Tries to connect once, for at most [`RedisOptions::connect_timeout`]. Without success the cache starts all the
    /// same, reports [`CacheError::Unavailable`] and goes on trying in the background.
    ///
    /// # Errors
    /// [`CacheError::Unavailable`] only if the URL is none, or asks for TLS, which is not supported.
    pub async fn connect(options: RedisOptions) -> Result<Self> {
        let link = Link::connect(&options).await?;
        Ok(Self { link, keys: Keys::new(&options.prefix), counters: Counters::default(), options })
    }

    /// Is the circuit to Redis closed, that is, will the next operation be tried?
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    fn counted<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.counters.failed();
        }
        outcome
    }

    async fn fetch(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let name = self.keys.entry(key);
        let (value, ttl_ms) = self
            .link
            .call(Patience::Normal, async |mut redis| -> RedisResult<(Option<Bytes>, i64)> {
                pipe().cmd("GET").arg(&name).cmd("PTTL").arg(&name).query_async(&mut redis).await
            })
            .await?;
        let Some(sealed) = value else { return Ok(None) };
        match envelope::open(key, sealed) {
            Ok(mut entry) => {
                // Below zero: it expired between the two commands, or somebody took its expiry away.
                entry.ttl = u64::try_from(ttl_ms).ok().map(Duration::from_millis);
                Ok(Some(entry))
            }
            Err(reason) => {
                tracing::warn!(%key, reason, "a damaged cache entry is removed from Redis");
                let removed = self
                    .link
                    .call(Patience::Normal, async |mut redis| cmd("UNLINK").arg(&name).exec_async(&mut redis).await)
                    .await;
                if let Err(error) = removed {
                    tracing::warn!(%key, %error, "the damaged entry could not be removed");
                }
                Err(CacheError::Corrupt(reason.into()))
            }
        }
    }

    async fn store(&self, key: &CacheKey, value: &Bytes, options: &PutOptions) -> Result<()> {
        let (size, limit) = (value.len() as u64, self.options.max_entry_bytes);
        if size > limit {
            return Err(CacheError::TooLarge { size, limit });
        }
        let ttl = options.ttl.or(self.options.default_ttl).unwrap_or(self.options.max_ttl).min(self.options.max_ttl);
        let ttl_ms = ttl.as_millis() as u64;
        let name = self.keys.entry(key);
        if ttl_ms == 0 {
            return self
                .link
                .call(Patience::Normal, async |mut redis| cmd("UNLINK").arg(&name).exec_async(&mut redis).await)
                .await;
        }
        let sealed = envelope::seal(key, value, &options.tags)?;
        let mut transaction = pipe();
        transaction.atomic().cmd("SET").arg(&name).arg(&sealed[..]).arg("PX").arg(ttl_ms);
        let now_ms = unix_ms();
        for tag in &options.tags {
            let set = self.keys.tag(tag);
            let slack_ms = CLOCK_SLACK.as_millis() as u64;
            transaction.cmd("ZADD").arg(&set).arg(now_ms + ttl_ms).arg(key.as_str());
            // What expired is of no use in the set; without this a busy tag would only ever grow.
            transaction.cmd("ZREMRANGEBYSCORE").arg(&set).arg("-inf").arg(now_ms.saturating_sub(slack_ms));
            transaction.cmd("PEXPIRE").arg(&set).arg(self.options.max_ttl.as_millis() as u64 + slack_ms);
        }
        self.link.call(Patience::Normal, async |mut redis| transaction.exec_async(&mut redis).await).await
    }

    async fn sweep_tag(&self, tag: &str) -> Result<u64> {
        let set = self.keys.tag(tag);
        let (mut removed, mut at) = (0, 0);
        loop {
            let members: Vec<Vec<u8>> = self
                .link
                .call(Patience::Long, async |mut redis| {
                    cmd("ZRANGE").arg(&set).arg(at).arg(at + BATCH - 1).query_async(&mut redis).await
                })
                .await?;
            if members.is_empty() {
                return Ok(removed);
            }
            let carriers = self.carriers(tag, &members).await?;
            // Past what stays: entries put again without the tag, or expired. They leave the set with their time.
            at += members.len() - carriers.len();
            removed += self.remove_carriers(&set, &carriers).await?;
        }
    }

    /// Those of these keys whose entries carry the tag now.
    async fn carriers(&self, tag: &str, members: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let mut reads = pipe();
        for member in members {
            reads.cmd("GETRANGE").arg(self.keys.entry_named(member)).arg(0).arg(envelope::TAGS_WINDOW - 1);
        }
        let beginnings: Vec<Vec<u8>> =
            self.link.call(Patience::Long, async |mut redis| reads.query_async(&mut redis).await).await?;
        let pairs = members.iter().zip(beginnings);
        Ok(pairs.filter(|(_, entry)| envelope::carries(entry, tag)).map(|(member, _)| member.clone()).collect())
    }

    /// Removes entries and their places in a tag's set, both or neither; how many entries there were.
    async fn remove_carriers(&self, set: &[u8], carriers: &[Vec<u8>]) -> Result<u64> {
        if carriers.is_empty() {
            return Ok(0);
        }
        let names: Vec<_> = carriers.iter().map(|key| self.keys.entry_named(key)).collect();
        let mut transaction = pipe();
        transaction.atomic().cmd("UNLINK").arg(&names).cmd("ZREM").arg(set).arg(carriers);
        let (removed, _): (u64, u64) =
            self.link.call(Patience::Long, async |mut redis| transaction.query_async(&mut redis).await).await?;
        Ok(removed)
    }

    async fn sweep_prefix(&self) -> Result<()> {
        let pattern = self.keys.pattern();
        let mut cursor = 0_u64;
        loop {
            let (next, names): (u64, Vec<Vec<u8>>) = self
                .link
                .call(Patience::Long, async |mut redis| {
                    let mut scan = cmd("SCAN");
                    scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(BATCH);
                    scan.query_async(&mut redis).await
                })
                .await?;
            if !names.is_empty() {
                self.link
                    .call(Patience::Long, async |mut redis| cmd("UNLINK").arg(&names).exec_async(&mut redis).await)
                    .await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Entries of the database and bytes of the server: what Redis knows without looking at every key.
    async fn server_size(&self) -> Result<(u64, u64)> {
        let (entries, info): (u64, ::redis::InfoDict) = self
            .link
            .call(Patience::Long, async |mut redis| {
                pipe().cmd("DBSIZE").cmd("INFO").arg("memory").query_async(&mut redis).await
            })
            .await?;
        Ok((entries, info.get("used_memory").unwrap_or(0)))
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let outcome = self.fetch(key).await;
        self.counters.got(&outcome);
        outcome
    }

    async fn put(&self, key: &CacheKey, value: Bytes, options: PutOptions) -> Result<()> {
        let outcome = self.store(key, &value, &options).await;
        self.counters.put(&outcome);
        outcome
    }

    async fn remove(&self, key: &CacheKey) -> Result<bool> {
        let name = self.keys.entry(key);
        let removed = self
            .link
            .call(Patience::Normal, async |mut redis| cmd("UNLINK").arg(&name).query_async::<u64>(&mut redis).await)
            .await;
        self.counted(removed).map(|count| count > 0)
    }

    async fn remove_tag(&self, tag: &str) -> Result<u64> {
        let removed = self.sweep_tag(tag).await;
        self.counted(removed)
    }

    async fn clear(&self) -> Result<()> {
        let cleared = self.sweep_prefix().await;
        self.counted(cleared)
    }

    /// This client's counters. `entries` counts the whole database and `bytes` the whole server, whoever put them
    /// there; both are zero while Redis can't be asked.
    async fn stats(&self) -> Result<CacheStats> {
        let mut stats = self.counters.stats();
        (stats.entries, stats.bytes) = self.server_size().await.unwrap_or_default();
        Ok(stats)
    }

    fn tier(&self) -> &'static str {
        "redis"
    }
}

impl std::fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisCache").field("options", &self.options).field("up", &self.is_up()).finish_non_exhaustive()
    }
}

/// Milliseconds since 1970 by this machine's clock. Only ever compared with [`CLOCK_SLACK`] to spare.
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
