//! A store over any [`object_store::ObjectStore`]: S3 and what speaks its protocol, memory, and others.
//!
//! Uploads are checked before they are completed, so that wrong bytes never become visible. Hashes are kept in small
//! objects of their own (below `.llmo/`), bound to the version they belong to.

mod fault;
mod record;
#[cfg(feature = "s3")]
mod s3;
mod upload;

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use llmo_core::store::{
    ByteStream, GetOptions, ObjectMeta, ObjectStream, Result, Store, StoreError, StorePath, StorePutOptions,
};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};

use fault::fault;
#[cfg(feature = "s3")]
pub use s3::S3Options;

/// Records looked up at once for a listing.
const LOOKUPS: usize = 16;
/// How often a reader whose object was replaced between two requests begins again.
const REPLACED: usize = 16;
/// Largest piece of an object: some stores hand it out whole.
const PIECE: usize = 1 << 20;

/// Objects in an object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ObjectStoreBackend {
    store: Arc<dyn ObjectStore>,
    kind: &'static str,
}

impl ObjectStoreBackend {
    /// Objects in `store`; `kind` is what people call it.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, kind: &'static str) -> Self {
        Self { store, kind }
    }

    async fn describe(&self, path: StorePath, found: &object_store::ObjectMeta) -> ObjectMeta {
        let modified = u64::try_from(found.last_modified.timestamp()).unwrap_or_default();
        let sha256 = record::read(&*self.store, &path, found).await;
        let mut meta = ObjectMeta::new(path, found.size, modified);
        meta.sha256 = sha256;
        meta
    }

    async fn find(&self, path: &StorePath) -> Result<object_store::ObjectMeta> {
        self.store.head(&Path::from(path.as_str())).await.map_err(|e| fault(path.as_str(), &e))
    }
}

#[async_trait]
impl Store for ObjectStoreBackend {
    async fn get(&self, path: &StorePath, options: GetOptions) -> Result<ObjectStream> {
        for _ in 0..REPLACED {
            let found = self.find(path).await?;
            let range = crate::range::resolve(&options, found.size)?;
            let meta = self.describe(path.clone(), &found).await;
            if range.is_empty() {
                return Ok(ObjectStream { meta, range, data: futures::stream::empty().boxed() });
            }
            // Only of the version whose size and hash were just looked up.
            let request = object_store::GetOptions::new().with_range(Some(range.clone())).with_if_match(found.e_tag);
            match self.store.get_opts(&Path::from(path.as_str()), request).await {
                Err(Error::Precondition { .. }) => {}
                Err(error) => return Err(fault(path.as_str(), &error)),
                Ok(answer) => {
                    let name = path.to_string();
                    let pieces = answer.into_stream().map_err(move |e| fault(&name, &e));
                    let pieces = pieces.map_ok(in_pieces).try_flatten();
                    let data = crate::range::exactly(pieces, range.end - range.start, path.to_string());
                    return Ok(ObjectStream { meta, range, data });
                }
            }
        }
        Err(StoreError::Unavailable(format!("{path} is being replaced faster than it can be read")))
    }

    async fn put(&self, path: &StorePath, data: ByteStream, options: StorePutOptions) -> Result<ObjectMeta> {
        let target = Path::from(path.as_str());
        let (result, digest) = upload::run(&*self.store, &target, path.as_str(), data, &options).await?;
        record::write(&*self.store, path, &digest.sha256, digest.size, result.e_tag).await?;
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let mut meta = ObjectMeta::new(path.clone(), digest.size, now);
        meta.sha256 = Some(digest.sha256);
        Ok(meta)
    }

    async fn head(&self, path: &StorePath) -> Result<ObjectMeta> {
        let found = self.find(path).await?;
        Ok(self.describe(path.clone(), &found).await)
    }

    async fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectMeta>> {
        let location = prefix.map(|prefix| Path::from(prefix.as_str()));
        let found: Vec<_> = self.store.list(location.as_ref()).try_collect().await.map_err(|e| fault("listing", &e))?;
        let named = found.into_iter().filter_map(|meta| Some((StorePath::new(meta.location.as_ref()).ok()?, meta)));
        // Looked up in parallel, but answered in order. The pairs are collected first: a lazy closure over borrowed
        // metadata is not `Send` for every lifetime, which `async_trait` asks for.
        let lookups: Vec<_> = named.map(|(path, meta)| self.describe_owned(path, meta)).collect();
        let mut objects: Vec<ObjectMeta> = futures::stream::iter(lookups).buffered(LOOKUPS).collect().await;
        // An object store lists what lies below a prefix, not the object of that very name.
        if let Some(prefix) = prefix {
            match self.head(prefix).await {
                Ok(meta) => objects.push(meta),
                Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        objects.sort_by(|a, b| a.path.cmp(&b.path));
        objects.dedup_by(|a, b| a.path == b.path);
        Ok(objects)
    }

    async fn delete(&self, path: &StorePath) -> Result<()> {
        // S3 is content with deleting what isn't there.
        self.find(path).await?;
        self.store.delete(&Path::from(path.as_str())).await.map_err(|e| fault(path.as_str(), &e))?;
        record::remove(&*self.store, path).await;
        Ok(())
    }

    fn kind(&self) -> &'static str {
        self.kind
    }
}

impl ObjectStoreBackend {
    async fn describe_owned(&self, path: StorePath, found: object_store::ObjectMeta) -> ObjectMeta {
        self.describe(path, &found).await
    }
}

/// The same bytes in pieces. They are not copied.
fn in_pieces(whole: Bytes) -> impl Stream<Item = Result<Bytes>> {
    let ends = (0..whole.len()).step_by(PIECE).map(move |start| Ok(whole.slice(start..whole.len().min(start + PIECE))));
    futures::stream::iter(ends)
}
