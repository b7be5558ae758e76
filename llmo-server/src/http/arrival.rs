//! What is known of a request before anybody has read it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use http::Extensions;

use super::{AccessRecord, Lifecycle, RequestId};

/// Who sent a request, how its server is, and its record. The one thing of ours in the extensions of every request: each
/// extension is a box and a place in a map. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Arrival(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    peer: Option<SocketAddr>,
    lifecycle: Lifecycle,
    record: OnceLock<AccessRecord>,
}

impl Arrival {
    /// A request that came from `peer` to a server of this lifecycle.
    #[must_use]
    pub fn new(peer: Option<SocketAddr>, lifecycle: Lifecycle) -> Self {
        Self(Arc::new(Known { peer, lifecycle, record: OnceLock::new() }))
    }

    /// That of the request with these extensions, if it came through [`serve`](super::serve) or a layer.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Where the connection comes from.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// How far the server is on its way down.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }

    /// What is written down of the request, once a layer has begun that.
    #[must_use]
    pub fn record(&self) -> Option<&AccessRecord> {
        self.0.record.get()
    }

    /// What the request is called, once a layer has found that out.
    #[must_use]
    pub fn request_id(&self) -> Option<RequestId> {
        self.record().map(|record| RequestId::from(Arc::clone(&record.work().request_id)))
    }

    /// From now on this is written down. A second record changes nothing.
    pub(super) fn begin(&self, record: AccessRecord) {
        // Layers are there once.
        let _ = self.0.record.set(record);
    }
}
