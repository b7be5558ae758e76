//! The stages of a server's end.

use tokio_util::sync::CancellationToken;

/// How far a server is on its way down. [`serve`](super::serve) puts it into the extensions of every request.
///
/// The stages come in this order: *draining* (not ready any more, everything else goes on), *finishing* (no new
/// connections or requests), *closing* (what still runs is ended with a typed error), and then the sockets close.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    finishing: CancellationToken,
    closing: CancellationToken,
    aborting: CancellationToken,
}

impl Lifecycle {
    /// A server that drains when `shutdown` is cancelled.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { draining: shutdown, ..Self::default() }
    }

    /// Has the shutdown begun? Then the service is not ready any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the shutdown begins.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Waits until requests that still run have to end now.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Do requests that still run have to end now?
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    pub(super) async fn finishing(&self) {
        self.finishing.cancelled().await;
    }

    pub(super) async fn aborting(&self) {
        self.aborting.cancelled().await;
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.is_cancelled()
    }

    pub(super) fn finish(&self) {
        self.finishing.cancel();
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    pub(super) fn abort(&self) {
        self.aborting.cancel();
    }
}
