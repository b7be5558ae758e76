//! The connection to Redis.
//!
//! redis-rs has a `ConnectionManager`; it makes callers wait while it reconnects, and it never gives up a connection on
//! which nothing is answered any more. Callers here must not wait at all: they use the connection there is, within
//! their deadline, or hear at once that there is none. Reconnecting is the work of one background task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisError, RedisResult};
use llmo_core::CacheError;
use llmo_core::cache::Result;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use super::RedisOptions;
use crate::breaker::{Breaker, BreakerPolicy, Outcome, Permit};

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Somebody waits for an answer that could also be had without us.
    Normal,
    /// An operation over many keys.
    Long,
}

/// A connection that is there, or is being made.
pub(super) struct Link {
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
}

struct Shared {
    client: Client,
    timeout: Duration,
    long_timeout: Duration,
    connect_timeout: Duration,
    state: Mutex<State>,
    went_down: Notify,
}

struct State {
    breaker: Breaker,
    /// There is one exactly while the circuit is closed.
    connection: Option<MultiplexedConnection>,
    /// Why there is none.
    reason: String,
}

// === impl Link ===

impl Link {
    /// Makes one attempt, then leaves further ones to a background task.
    pub(super) async fn connect(options: &RedisOptions) -> Result<Self> {
        let policy = BreakerPolicy {
            failures: options.failures_to_open.max(1),
            longest_pause: options.longest_pause,
            ..BreakerPolicy::default()
        };
        let shared = Arc::new(Shared {
            client: client(&options.url)?,
            timeout: options.timeout,
            long_timeout: options.long_timeout,
            connect_timeout: options.connect_timeout,
            state: Mutex::new(State {
                breaker: Breaker::untried(policy, Instant::now()),
                connection: None,
                reason: "not connected yet".into(),
            }),
            went_down: Notify::new(),
        });
        shared.probe_if_due().await;
        let supervisor = tokio::spawn(Arc::clone(&shared).supervise());
        Ok(Self { shared, supervisor })
    }

    pub(super) fn is_up(&self) -> bool {
        self.shared.state.lock().breaker.is_closed()
    }

    /// Makes one call over the connection, within its deadline.
    ///
    /// # Errors
    /// [`CacheError::Unavailable`] at once if there is no connection, or if Redis refuses; [`CacheError::Timeout`].
    pub(super) async fn call<T>(
        &self,
        patience: Patience,
        call: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T> {
        let (connection, permit) = self.shared.connection()?;
        let limit = match patience {
            Patience::Normal => self.shared.timeout,
            Patience::Long => self.shared.long_timeout,
        };
        match timeout(limit, call(connection)).await {
            Ok(Ok(answer)) => {
                self.shared.settle(permit, Outcome::Answered, "");
                Ok(answer)
            }
            Ok(Err(error)) => {
                // An error that Redis itself sent (out of memory, loading, read only) leaves the connection usable.
                let gone = error.is_io_error() || error.is_unrecoverable_error();
                self.shared.settle(permit, if gone { Outcome::Gone } else { Outcome::Answered }, &error.to_string());
                Err(CacheError::Unavailable(error.to_string()))
            }
            Err(_) => {
                self.shared.settle(permit, Outcome::Failed, "it does not answer in time");
                Err(CacheError::Timeout)
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

// === impl Shared ===

impl Shared {
    fn connection(&self) -> Result<(MultiplexedConnection, Permit)> {
        let mut state = self.state.lock();
        let Some(connection) = state.connection.clone() else {
            return Err(CacheError::Unavailable(state.reason.clone()));
        };
        match state.breaker.admit(Instant::now()) {
            Some(permit) => Ok((connection, permit)),
            None => Err(CacheError::Unavailable(state.reason.clone())),
        }
    }

    fn settle(&self, permit: Permit, outcome: Outcome, reason: &str) {
        let mut state = self.state.lock();
        state.breaker.settle(permit, outcome, Instant::now());
        if !state.breaker.is_closed() && state.connection.take().is_some() {
            // Late answers die with the connection. A new one also gets past a network that swallowed this one.
            tracing::warn!(reason, "Redis is left alone for a while; requests are served without it");
            reason.clone_into(&mut state.reason);
            self.went_down.notify_one();
        }
    }

    async fn supervise(self: Arc<Self>) {
        loop {
            let probe_at = self.state.lock().breaker.probe_at();
            match probe_at {
                None => self.went_down.notified().await,
                Some(at) => {
                    sleep_until(at.into()).await;
                    self.probe_if_due().await;
                }
            }
        }
    }

    /// Connects and asks for a sign of life, which must come as fast as any caller would want it.
    async fn probe_if_due(&self) {
        let Some(permit) = self.state.lock().breaker.admit(Instant::now()) else { return };
        let probed = self.open().await;
        let mut state = self.state.lock();
        match probed {
            Ok(connection) => {
                tracing::info!("connected to Redis");
                state.connection = Some(connection);
                state.breaker.settle(permit, Outcome::Answered, Instant::now());
            }
            Err(reason) => {
                tracing::debug!(reason, "Redis can't be reached");
                state.reason = reason;
                state.breaker.settle(permit, Outcome::Failed, Instant::now());
            }
        }
    }

    async fn open(&self) -> Result<MultiplexedConnection, String> {
        let slow = |_| "it does not answer in time".to_owned();
        let failed = |error: RedisError| error.to_string();
        // Deadlines are ours: one clock for one call.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = timeout(self.connect_timeout, connecting).await.map_err(slow)?.map_err(failed)?;
        let ping = ::redis::cmd("PING");
        timeout(self.timeout, ping.exec_async(&mut connection)).await.map_err(slow)?.map_err(failed)?;
        Ok(connection)
    }
}

/// A client that sends small requests at once: redis-rs leaves Nagle's algorithm on, which costs up to 40 ms.
fn client(url: &str) -> Result<Client> {
    // The URL may hold a password: it must not get into an error.
    let unusable = |what: &str| CacheError::Unavailable(format!("the Redis URL can't be used: {what}"));
    let info = url.into_connection_info().map_err(|error| unusable(error.category()))?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(unusable("TLS (rediss://) is not supported, use a local proxy"));
    }
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    Client::open(info).map_err(|error| unusable(error.category()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_is_refused_without_repeating_it() {
        for url in ["", "http://:secret@host", "redis://:secret@host/not-a-number", "rediss://:secret@host"] {
            let error = client(url).expect_err(url).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(client("redis://user:secret@localhost:6380/3").is_ok());
    }
}
