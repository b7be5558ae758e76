//! The registry as a source.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Announcement, Leases, SharedRegistry};
use crate::provider::{Desired, Provider, Sink, SourceLost, Target, TargetError};

/// The shared registry is read this often.
const SHARED_EVERY: Duration = Duration::from_secs(1);

/// The leases that this gateway gave, and those of its neighbours.
#[derive(Debug)]
pub struct Registry {
    usual: Duration,
    token: String,
    own_url: String,
    leases: Mutex<Leases>,
    changed: Notify,
    shared: Option<SharedRegistry>,
    gateways: Mutex<Vec<String>>,
}

impl Registry {
    /// Nobody is known yet. `usual`: how long a lease lasts if nothing else is asked for. `token`: what services must show;
    /// empty: nothing, and only services of this machine are let in. `own_url`: where a proxy reaches this gateway's API;
    /// empty: nobody knows.
    #[must_use]
    pub fn new(usual: Duration, token: &str, own_url: &str, shared: Option<SharedRegistry>) -> Self {
        Self {
            usual,
            token: token.to_owned(),
            own_url: own_url.trim_end_matches('/').to_owned(),
            leases: Mutex::default(),
            changed: Notify::new(),
            shared,
            gateways: Mutex::default(),
        }
    }

    /// What services must show; empty: nothing.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where proxies reach the gateways that are known, this one included.
    #[must_use]
    pub fn gateways(&self) -> Vec<String> {
        let mut all = self.gateways.lock().clone();
        if !self.own_url.is_empty() && !all.contains(&self.own_url) {
            all.push(self.own_url.clone());
        }
        all.sort_unstable();
        all
    }

    /// Lets a replica in, or renews its lease; returns how long that lasts.
    ///
    /// # Errors
    /// What is wrong with the announcement, or that there is no room.
    pub async fn announce(&self, announcement: Announcement) -> Result<Duration, String> {
        let target = announcement.target().map_err(|error: TargetError| error.to_string())?;
        let lease = announcement.lease(self.usual);
        let url = target.url.clone();
        if self.leases.lock().renew(target, Instant::now() + lease)? {
            self.changed.notify_one();
        }
        if let Some(shared) = &self.shared
            && let Err(error) = shared.put_replica(&Announcement { url, ..announcement }, lease).await
        {
            // Here it is known; the others hear of it with the next announcement.
            tracing::debug!(%error, "a replica was announced to this gateway only");
        }
        Ok(lease)
    }

    /// Forgets a replica; its last requests are finished. False if it was not known here.
    ///
    /// # Errors
    /// If the address can't be one.
    pub async fn withdraw(&self, url: &str) -> Result<bool, String> {
        let target = Target::new(url).map_err(|error| error.to_string())?;
        let known = self.leases.lock().remove(&target.url);
        if let Some(shared) = &self.shared
            && let Err(error) = shared.remove_replica(&target.url).await
        {
            tracing::debug!(%error, "other gateways will hear of a replica's end when its lease is over");
        }
        self.changed.notify_one();
        Ok(known)
    }

    /// The replicas that were announced here, and how long each lease still lasts.
    #[must_use]
    pub fn leases(&self) -> Vec<(Target, Duration)> {
        self.leases.lock().left(Instant::now()).map(|(target, left)| (target.clone(), left)).collect()
    }

    /// Own replicas first; what others were told of the same address does not matter then.
    fn desired(&self, others: &[Target]) -> Desired {
        let mut targets = self.leases.lock().targets();
        for target in others {
            if !targets.iter().any(|own| own.url == target.url) {
                targets.push(target.clone());
            }
        }
        targets.sort_by(|a, b| a.url.cmp(&b.url));
        Desired::targets(targets)
    }

    async fn read_shared(&self, shared: &SharedRegistry) -> Result<Vec<Target>, SourceLost> {
        if !self.own_url.is_empty() {
            shared.put_gateway(&self.own_url, SHARED_EVERY * 10).await?;
        }
        *self.gateways.lock() = shared.gateways().await?;
        // What another version of this program wrote and can't be used here is nobody.
        Ok(shared.replicas().await?.iter().filter_map(|announcement| announcement.target().ok()).collect())
    }
}

/// Publishes a registry's replicas.
pub struct RegistryProvider(pub Arc<Registry>);

#[async_trait]
impl Provider for RegistryProvider {
    fn name(&self) -> &str {
        "registry"
    }

    async fn watch(&self, sink: &Sink) -> Result<Infallible, SourceLost> {
        let registry = &self.0;
        let (mut others, mut published) = (Vec::new(), None);
        // Why the shared registry can't be read, as of the last try.
        let mut lost: Option<SourceLost> = None;
        let mut look = Instant::now();
        loop {
            registry.leases.lock().expire(Instant::now());
            let mut to_tell = false;
            if let Some(shared) = registry.shared.as_ref().filter(|_| look <= Instant::now()) {
                let before = lost.take();
                match registry.read_shared(shared).await {
                    Ok(found) => others = found,
                    Err(error) => lost = Some(error),
                }
                look = Instant::now() + SHARED_EVERY;
                to_tell = lost.is_some() && before.is_none();
                if lost.is_none() && before.is_some() {
                    // Said again, so that everybody sees that all is well.
                    published = None;
                }
            }
            let desired = registry.desired(&others);
            if published.as_ref() != Some(&desired) {
                // Routes are not in it: there is nothing to refuse.
                let _ = sink.publish(desired.clone());
                published = Some(desired);
                to_tell = true;
            }
            if let Some(error) = lost.as_ref().filter(|_| to_tell) {
                sink.lost(error);
            }
            let end = registry.leases.lock().next_end();
            let next = end.into_iter().chain(registry.shared.as_ref().map(|_| look)).min();
            tokio::select! {
                () = registry.changed.notified() => {}
                () = at(next) => {}
            }
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
