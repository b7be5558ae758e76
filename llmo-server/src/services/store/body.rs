//! The body of an upload as a stream for a store.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;
use llmo_core::store::{ByteStream, StoreError};

/// What a client did wrong while it was sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// It sent nothing for too long.
    Stalled,
    /// It went away.
    Off,
}

/// Tells afterwards whether a body came to its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Sender(Arc<OnceLock<Broken>>);

impl Sender {
    /// What the client did wrong, if it did.
    pub(super) fn fault(&self) -> Option<Broken> {
        self.0.get().copied()
    }

    fn broke(&self, how: Broken) -> StoreError {
        // The first fault is the last: the stream ends with it.
        let _ = self.0.set(how);
        StoreError::Unavailable(match how {
            Broken::Stalled => "the upload stalled".to_owned(),
            Broken::Off => "the upload broke off".to_owned(),
        })
    }
}

/// The bytes of `body`. A pause of more than `stall` is an error: a client that is gone must not hold a file open.
pub(super) fn stream(body: Body, stall: Duration) -> (ByteStream, Sender) {
    let sender = Sender::default();
    let state = Some((body.into_data_stream(), sender.clone()));
    let data = futures::stream::unfold(state, move |state| async move {
        let (mut data, sender) = state?;
        match tokio::time::timeout(stall, data.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some((data, sender)))),
            Ok(Some(Err(_))) => Some((Err(sender.broke(Broken::Off)), None)),
            Ok(None) => None,
            Err(_) => Some((Err(sender.broke(Broken::Stalled)), None)),
        }
    });
    (data.boxed(), sender)
}
