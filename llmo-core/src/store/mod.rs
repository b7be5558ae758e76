//! The [`Store`] trait: large objects by path, streamed, checked by their hash.
//!
//! Weights, adapters and saved KV state live here. An object is there as a whole or not at all.

mod error;
mod path;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub use error::{Result, StoreError};
pub use path::StorePath;

/// The bytes of an object, in pieces, in order.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Objects by path.
///
/// # Contract
/// * `put` is atomic: readers see the old object, the new one or nothing, never a part; a failed or dropped put
///   leaves nothing behind.
/// * With an expected hash, an object whose bytes differ is refused ([`StoreError::HashMismatch`]) and not stored.
/// * `list` is ordered by path.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads an object or a range of it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::InvalidRange`] if the range starts past the end.
    async fn get(&self, path: &StorePath, options: GetOptions) -> Result<ObjectStream>;

    /// Writes an object from a stream.
    ///
    /// # Errors
    /// [`StoreError::HashMismatch`], [`StoreError::NoSpace`], or the first error of `data`.
    async fn put(&self, path: &StorePath, data: ByteStream, options: StorePutOptions) -> Result<ObjectMeta>;

    /// What is known of an object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn head(&self, path: &StorePath) -> Result<ObjectMeta>;

    /// All objects whose path starts with `prefix` (whole segments), ordered.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectMeta>>;

    /// Deletes an object; deleting what isn't there is [`StoreError::NotFound`].
    ///
    /// # Errors
    /// See above.
    async fn delete(&self, path: &StorePath) -> Result<()>;

    /// The file on this machine that holds the object, if there is one: engines map weights into memory.
    async fn local_path(&self, path: &StorePath) -> Result<Option<std::path::PathBuf>> {
        let _ = path;
        Ok(None)
    }

    /// What kind of store this is: `local`, `s3`, `remote`.
    fn kind(&self) -> &'static str;
}

/// An object being read.
pub struct ObjectStream {
    /// What is known of the object.
    pub meta: ObjectMeta,
    /// The part of it that `data` holds, in bytes.
    pub range: Range<u64>,
    /// The bytes.
    pub data: ByteStream,
}

impl std::fmt::Debug for ObjectStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStream").field("meta", &self.meta).field("range", &self.range).finish_non_exhaustive()
    }
}

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// Where it is.
    pub path: StorePath,
    /// Its size in bytes.
    pub size: u64,
    /// sha256 of its bytes in lower-case hexadecimal, if it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Unix time of its last change, in seconds.
    pub modified: u64,
}

impl ObjectMeta {
    /// An object whose hash isn't known.
    #[must_use]
    pub fn new(path: StorePath, size: u64, modified: u64) -> Self {
        Self { path, size, sha256: None, modified }
    }
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// Bytes from here…
    pub offset: u64,
    /// …this many; `None`: to the end. More than there is: to the end.
    pub length: Option<u64>,
}

impl GetOptions {
    /// From `offset` to the end.
    #[must_use]
    pub fn from(offset: u64) -> Self {
        Self { offset, length: None }
    }

    /// `length` bytes from `offset`.
    #[must_use]
    pub fn range(offset: u64, length: u64) -> Self {
        Self { offset, length: Some(length) }
    }
}

/// How to write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StorePutOptions {
    /// sha256 that the bytes must have, in hexadecimal.
    pub expected_sha256: Option<String>,
    /// Size that they must have.
    pub expected_size: Option<u64>,
}

impl StorePutOptions {
    /// Refuses other bytes than those with this hash.
    #[must_use]
    pub fn sha256(hash: impl Into<String>) -> Self {
        Self { expected_sha256: Some(hash.into()), expected_size: None }
    }
}
