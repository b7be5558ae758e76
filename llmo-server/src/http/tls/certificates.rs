//! The certificates in use.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::RwLock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{ACME_ALPN, CertificatePair};

/// The pair that new connections get, and those that answer challenges. Shared between what installs pairs and the server.
#[derive(Debug, Default)]
pub struct Certificates {
    installed: RwLock<Option<CertificatePair>>,
    challenges: RwLock<HashMap<String, CertificatePair>>,
    reloads: AtomicU64,
    refused: AtomicU64,
    last_failed: AtomicBool,
}

impl Certificates {
    /// New connections get this pair from now on; open ones keep theirs.
    pub fn install(&self, pair: CertificatePair) {
        *self.installed.write() = Some(pair);
        self.reloads.fetch_add(1, Ordering::Relaxed);
        self.last_failed.store(false, Ordering::Relaxed);
    }

    /// A new pair was no good, and is not used.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.last_failed.store(true, Ordering::Relaxed);
    }

    /// The pair in use.
    #[must_use]
    pub fn installed(&self) -> Option<CertificatePair> {
        self.installed.read().clone()
    }

    /// Until when it can be used.
    #[must_use]
    pub fn not_after(&self) -> Option<SystemTime> {
        self.installed.read().as_ref().map(CertificatePair::not_after)
    }

    /// Answers challenges about `name` with this pair.
    pub fn challenge(&self, name: &str, pair: CertificatePair) {
        self.challenges.write().insert(name.to_ascii_lowercase(), pair);
    }

    /// The challenge about `name` is over.
    pub fn challenge_over(&self, name: &str) {
        self.challenges.write().remove(&name.to_ascii_lowercase());
    }

    /// Pairs installed, pairs refused, and whether the last one was refused.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, bool) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.reloads), load(&self.refused), self.last_failed.load(Ordering::Relaxed))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ACME_ALPN)) {
            let name = hello.server_name()?.to_ascii_lowercase();
            return self.challenges.read().get(&name).map(|pair| Arc::clone(pair.key()));
        }
        self.installed.read().as_ref().map(|pair| Arc::clone(pair.key()))
    }
}
