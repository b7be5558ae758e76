//! Buckets in Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;

/// Longest wait for Redis: a limit is not worth more. With what a busy machine adds it stays below 20 ms.
const PATIENCE: Duration = Duration::from_millis(15);
/// Longest wait for a connection. No request waits for it that long.
const CONNECT: Duration = Duration::from_secs(2);
/// After a failure Redis is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// A token bucket in one step. Redis' clock counts, so gateways need not agree on theirs. It may jump: back, and time stands
/// still for the bucket, once; forward, and the bucket is full, which is the most it ever holds.
const TAKE: &str = r"
local capacity, amount = tonumber(ARGV[1]), tonumber(ARGV[2])
local rate = capacity / 60000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local bucket = redis.call('HMGET', KEYS[1], 'level', 'at')
local at = tonumber(bucket[2]) or now
if at > now then
  at = now
  redis.call('HSET', KEYS[1], 'at', now)
end
local level = math.min(capacity, (tonumber(bucket[1]) or capacity) + (now - at) * rate)
local wanted = math.min(amount, capacity)
if level < wanted then return math.max(1, math.ceil((wanted - level) / rate)) end
redis.call('HSET', KEYS[1], 'level', tostring(level - amount), 'at', now)
redis.call('PEXPIRE', KEYS[1], math.ceil((capacity - level + amount) / rate) + 1000)
return 0
";

/// Buckets that all gateways share.
pub struct Shared {
    client: redis::Client,
    /// Locked by whoever connects, until that has succeeded or failed.
    link: Arc<tokio::sync::Mutex<Option<MultiplexedConnection>>>,
    paused: Mutex<Option<Instant>>,
}

impl Shared {
    /// In the Redis of this URL. Connects with the first request.
    ///
    /// # Errors
    /// What is wrong with the URL, without its password.
    pub fn new(url: &str) -> Result<Self, String> {
        let client = redis::Client::open(url).map_err(|error| error.to_string())?;
        Ok(Self { client, link: Arc::default(), paused: Mutex::default() })
    }

    /// Takes so much from a tenant's bucket, or tells the time until there is enough; `None` if Redis does not answer.
    pub async fn take(&self, tenant: &str, amount: u64, per_minute: u64) -> Option<Result<(), Duration>> {
        if self.paused.lock().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let answer = tokio::time::timeout(PATIENCE, self.ask(tenant, amount, per_minute)).await;
        match answer {
            Ok(Ok(0)) => Some(Ok(())),
            Ok(Ok(wait)) => Some(Err(Duration::from_millis(wait))),
            Ok(Err(error)) => {
                self.pause(&error.to_string());
                None
            }
            Err(_) => {
                self.pause("no answer in time");
                None
            }
        }
    }

    async fn ask(&self, tenant: &str, amount: u64, per_minute: u64) -> redis::RedisResult<u64> {
        let Some(mut redis) = self.connection().await else {
            return Err(redis::RedisError::from((redis::ErrorKind::Client, "not connected")));
        };
        let mut take = redis::cmd("EVAL");
        take.arg(TAKE).arg(1).arg(format!("llmo:allowance:{tenant}")).arg(per_minute).arg(amount);
        take.query_async(&mut redis).await
    }

    /// The connection. Where there is none it is made, and goes on being made when nobody waits for it any more: that may
    /// take longer than any request should.
    async fn connection(&self) -> Option<MultiplexedConnection> {
        let mut link = Arc::clone(&self.link).lock_owned().await;
        if link.is_none() {
            let client = self.client.clone();
            let connecting = tokio::spawn(async move {
                let connected = tokio::time::timeout(CONNECT, client.get_multiplexed_async_connection()).await;
                *link = connected.ok().and_then(Result::ok);
                link.clone()
            });
            return connecting.await.ok().flatten();
        }
        link.clone()
    }

    fn pause(&self, reason: &str) {
        tracing::warn!(reason, "Redis does not count tenants' tokens: counted here for now");
        *self.paused.lock() = Some(Instant::now() + PAUSE);
        if let Ok(mut link) = self.link.try_lock() {
            *link = None;
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
