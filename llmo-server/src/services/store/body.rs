//! The body of an upload as a stream for a store.

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;
use llmo_core::store::{ByteStream, StoreError};

/// The bytes of `body`. A pause of more than `stall` is an error: a client that is gone must not hold a file open.
pub(super) fn stream(body: Body, stall: Duration) -> ByteStream {
    let data = body.into_data_stream();
    futures::stream::unfold(Some(data), move |state| async move {
        let mut data = state?;
        match tokio::time::timeout(stall, data.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(data))),
            Ok(Some(Err(error))) => {
                Some((Err(StoreError::Unavailable(format!("the upload broke off: {error}"))), None))
            }
            Ok(None) => None,
            Err(_) => {
                let seconds = stall.as_secs_f32();
                Some((Err(StoreError::Unavailable(format!("nothing was uploaded for {seconds} seconds"))), None))
            }
        }
    })
    .boxed()
}
