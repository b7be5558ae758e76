//! Writing a stream of unknown length: small ones in one request, large ones in parts.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use llmo_core::store::{ByteStream, Result, StoreError, StorePutOptions};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, PutResult, WriteMultipart};

use super::fault::fault;
use crate::digest::{Digest, Summing};

/// Every store takes parts of this size; S3 takes 10 000 of them: 160 GB.
const PART: usize = 16 << 20;
/// Parts on their way at once: this many times [`PART`] is the memory that an upload takes.
const IN_FLIGHT: usize = 4;

/// Writes all of `data` to `target`, if it is what `options` promise. Nothing becomes visible before that is known.
pub(super) async fn run(
    store: &dyn ObjectStore,
    target: &Path,
    name: &str,
    mut data: ByteStream,
    options: &StorePutOptions,
) -> Result<(PutResult, Digest)> {
    let mut sum = Summing::default();
    let mut first = BytesMut::new();
    while first.len() < PART
        && let Some(piece) = data.next().await
    {
        let piece = piece?;
        sum.update(&piece);
        first.extend_from_slice(&piece);
    }
    let broken = |e: object_store::Error| fault(name, &e);
    if first.len() < PART {
        let digest = sum.finish();
        digest.check(name, options)?;
        let result = store.put(target, PutPayload::from(first.freeze())).await.map_err(broken)?;
        return Ok((result, digest));
    }
    let upload = store.put_multipart(target).await.map_err(broken)?;
    let mut parts = Parts(Some(WriteMultipart::new_with_chunk_size(upload, PART)));
    parts.put(first.freeze(), name).await?;
    while let Some(piece) = data.next().await {
        let piece = piece?;
        sum.update(&piece);
        parts.put(piece, name).await?;
    }
    let digest = sum.finish();
    digest.check(name, options)?;
    let result = parts.complete(name).await?;
    Ok((result, digest))
}

/// An upload that is aborted unless it is completed: a store would keep its parts, and charge for them, for ever.
struct Parts(Option<WriteMultipart>);

impl Parts {
    async fn put(&mut self, piece: Bytes, name: &str) -> Result<()> {
        let Some(upload) = &mut self.0 else { return Err(ended(name)) };
        upload.wait_for_capacity(IN_FLIGHT).await.map_err(|e| fault(name, &e))?;
        upload.put(piece);
        Ok(())
    }

    async fn complete(mut self, name: &str) -> Result<PutResult> {
        match self.0.take() {
            Some(upload) => upload.finish().await.map_err(|e| fault(name, &e)),
            None => Err(ended(name)),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%error, "parts of a broken upload could not be removed");
                }
            });
        }
    }
}

fn ended(name: &str) -> StoreError {
    StoreError::Unavailable(format!("{name}: the upload has ended"))
}
