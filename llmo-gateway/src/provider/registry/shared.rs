//! The registry that several gateways share, in Redis.
//!
//! | key | is |
//! |---|---|
//! | `llmo:registry:replicas`, `llmo:registry:gateways` | sets of URLs, some of which may be gone |
//! | `llmo:registry:replica:URL`, `llmo:registry:gateway:URL` | what was announced; ends with its lease |

use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisError, pipe};

use super::Announcement;
use crate::provider::SourceLost;

/// Longest wait for Redis.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Replica,
    Gateway,
}

impl Kind {
    fn index(self) -> &'static str {
        match self {
            Self::Replica => "llmo:registry:replicas",
            Self::Gateway => "llmo:registry:gateways",
        }
    }

    fn key(self, url: &str) -> String {
        match self {
            Self::Replica => format!("llmo:registry:replica:{url}"),
            Self::Gateway => format!("llmo:registry:gateway:{url}"),
        }
    }
}

/// A client of the shared registry. It connects when it is used, and again after a failure.
pub struct SharedRegistry {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl SharedRegistry {
    /// In this Redis. Nothing is connected yet.
    ///
    /// # Errors
    /// If the URL can't be used. It is not in the text: it may hold a password.
    pub fn new(url: &str) -> Result<Self, String> {
        let client = Client::open(url).map_err(|error| {
            format!("discovery.registry_redis can't be used ({}); give redis://HOST:PORT/DATABASE", error.category())
        })?;
        Ok(Self { client, connection: Mutex::new(None) })
    }

    /// Makes a replica known for as long as its lease.
    ///
    /// # Errors
    /// [`SourceLost`] if Redis can't be reached.
    pub async fn put_replica(&self, announcement: &Announcement, lease: Duration) -> Result<(), SourceLost> {
        let value = serde_json::to_string(announcement).map_err(|error| SourceLost(error.to_string()))?;
        self.put(Kind::Replica, &announcement.url, &value, lease).await
    }

    /// Makes a gateway known.
    ///
    /// # Errors
    /// [`SourceLost`] if Redis can't be reached.
    pub async fn put_gateway(&self, url: &str, lease: Duration) -> Result<(), SourceLost> {
        self.put(Kind::Gateway, url, "{}", lease).await
    }

    /// Forgets a replica.
    ///
    /// # Errors
    /// [`SourceLost`] if Redis can't be reached.
    pub async fn remove_replica(&self, url: &str) -> Result<(), SourceLost> {
        self.with(async |mut redis| {
            pipe().del(Kind::Replica.key(url)).srem(Kind::Replica.index(), url).query_async(&mut redis).await
        })
        .await
    }

    /// The replicas whose leases hold. What can't be read is left out.
    ///
    /// # Errors
    /// [`SourceLost`] if Redis can't be reached.
    pub async fn replicas(&self) -> Result<Vec<Announcement>, SourceLost> {
        let found = self.all(Kind::Replica).await?;
        Ok(found.iter().filter_map(|(_, value)| serde_json::from_str(value).ok()).collect())
    }

    /// The gateways that are there.
    ///
    /// # Errors
    /// [`SourceLost`] if Redis can't be reached.
    pub async fn gateways(&self) -> Result<Vec<String>, SourceLost> {
        Ok(self.all(Kind::Gateway).await?.into_iter().map(|(url, _)| url).collect())
    }

    async fn put(&self, kind: Kind, url: &str, value: &str, lease: Duration) -> Result<(), SourceLost> {
        let milliseconds = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.with(async |mut redis| {
            pipe()
                .pset_ex(kind.key(url), value, milliseconds)
                .ignore()
                .sadd(kind.index(), url)
                .ignore()
                .query_async(&mut redis)
                .await
        })
        .await
    }

    /// URLs and what was said of them, ordered by URL. Those whose time is over leave the set.
    async fn all(&self, kind: Kind) -> Result<Vec<(String, String)>, SourceLost> {
        self.with(async |mut redis| {
            let mut urls: Vec<String> = redis.smembers(kind.index()).await?;
            if urls.is_empty() {
                return Ok(Vec::new());
            }
            urls.sort_unstable();
            let keys: Vec<String> = urls.iter().map(|url| kind.key(url)).collect();
            let values: Vec<Option<String>> = redis.mget(&keys).await?;
            let (mut found, mut over) = (Vec::new(), Vec::new());
            for (url, value) in urls.into_iter().zip(values) {
                match value {
                    Some(value) => found.push((url, value)),
                    None => over.push(url),
                }
            }
            if !over.is_empty() {
                // One that comes back in this moment is in the set again with its next announcement.
                let _: i64 = redis.srem(kind.index(), &over).await?;
            }
            Ok(found)
        })
        .await
    }

    async fn with<T>(
        &self,
        call: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, SourceLost> {
        let lost = |what: &str| SourceLost(format!("the shared registry in Redis: {what}"));
        let connection = self.connect().await.map_err(|error| lost(error.category()))?;
        let answer = match tokio::time::timeout(PATIENCE * 2, call(connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => lost(&format!("{} ({})", error.category(), error.code().unwrap_or("no answer"))),
            Err(_) => lost("no answer in time"),
        };
        *self.connection.lock() = None;
        Err(answer)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        if let Some(connection) = self.connection.lock().clone() {
            return Ok(connection);
        }
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *self.connection.lock() = Some(connection.clone());
        Ok(connection)
    }
}

impl std::fmt::Debug for SharedRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedRegistry").finish_non_exhaustive()
    }
}
