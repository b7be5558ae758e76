//! The hash of an object, in a small object of its own.
//!
//! A hash is known only when all bytes have gone, too late for the object's own metadata. The record names the version
//! that it belongs to; of an object that was replaced behind our back the hash is unknown, not wrong.

use llmo_core::store::{Result, StorePath};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use super::fault::fault;

/// All records lie below this. No segment of a [`StorePath`] begins with a dot.
pub(super) const HIDDEN: &str = ".llmo";
/// A record is a line; whatever is larger isn't one.
const MAX_BYTES: u64 = 4096;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    sha256: String,
    size: u64,
    tag: Option<String>,
}

fn place(path: &StorePath) -> Path {
    Path::from(format!("{HIDDEN}/sha256/{path}/.sum"))
}

/// The hash recorded for this version of an object.
pub(super) async fn read(store: &dyn ObjectStore, path: &StorePath, meta: &ObjectMeta) -> Option<String> {
    let found = store.get(&place(path)).await.ok().filter(|found| found.meta.size <= MAX_BYTES)?;
    let record: Record = serde_json::from_slice(&found.bytes().await.ok()?).ok()?;
    (record.size == meta.size && record.tag == meta.e_tag).then_some(record.sha256)
}

/// Records the hash of an object that has just been written.
pub(super) async fn write(
    store: &dyn ObjectStore,
    path: &StorePath,
    sha256: &str,
    size: u64,
    tag: Option<String>,
) -> Result<()> {
    let record = Record { sha256: sha256.to_owned(), size, tag };
    let bytes = serde_json::to_vec(&record).unwrap_or_default();
    let outcome = store.put(&place(path), PutPayload::from(bytes)).await;
    outcome.map(drop).map_err(|e| fault(path.as_str(), &e))
}

/// Removes a record. One without its object does no harm, so a failure is none.
pub(super) async fn remove(store: &dyn ObjectStore, path: &StorePath) {
    if let Err(error) = store.delete(&place(path)).await {
        tracing::debug!(%path, %error, "the record of a deleted object stays");
    }
}
