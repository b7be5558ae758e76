//! A store in a directory of this machine.
//!
//! Objects are plain files under their own path, so that engines can map them and people can look at them.
//! `object_store`'s `LocalFileSystem` is not used for this: it stages beside the object (a crash leaves `model.gguf#1`
//! there for good), follows links out of its root, keeps no hash, and can't take over a file that a resumed download
//! has already written. What it does have, `object::ObjectStoreBackend` offers.
//!
//! ```text
//! put: stream ─► .llmo/tmp/… (hash, size) ─► check ─► fsync ─► record of the hash ─► rename ─► fsync of the directory
//! ```

mod fault;
mod layout;
mod record;
mod staging;
mod walk;

use std::fs::Metadata;
use std::io::{ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use llmo_core::store::{
    ByteStream, GetOptions, ObjectMeta, ObjectStream, Result, Store, StoreError, StorePath, StorePutOptions,
};
use parking_lot::Mutex;

pub(crate) use fault::{io_fault, off_thread};
pub(crate) use layout::Layout;
use staging::StagedFile;

use crate::digest::Digest;

/// Objects as files below one directory. Cheap to clone; clones are the same store.
///
/// Several processes may use one directory at the same time.
#[derive(Debug, Clone)]
pub struct LocalStore {
    layout: Arc<Layout>,
    /// Held while an object and its record change places, so that they change together.
    commits: Arc<Mutex<()>>,
}

impl LocalStore {
    /// Opens or creates the store in `dir`, and removes what interrupted writes left there.
    ///
    /// # Errors
    /// [`StoreError::Permission`], [`StoreError::NoSpace`] or [`StoreError::Io`] if the directory can't be used.
    pub async fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        off_thread(move || {
            let layout = Layout::open(&dir)?;
            staging::sweep(&layout.temporary()).map_err(|e| io_fault("removing old temporary files", e))?;
            Ok(Self { layout: Arc::new(layout), commits: Arc::default() })
        })
        .await
    }

    /// The directory, absolute and without links.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.layout.root()
    }

    #[cfg(feature = "pull")]
    pub(crate) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Makes a finished file of the same file system an object. Its bytes are on disk when this returns. Blocking.
    pub(crate) fn adopt(&self, file: &Path, path: &StorePath, digest: &Digest) -> Result<ObjectMeta> {
        let doing = format!("storing {path}");
        let fault = |e| io_fault(&doing, e);
        let handle = std::fs::File::open(file).map_err(fault)?;
        handle.sync_all().map_err(fault)?;
        let meta = handle.metadata().map_err(fault)?;

        let _together = self.commits.lock();
        self.layout.make_parents(path)?;
        let record = self.layout.record(path);
        // The record comes first: an object is never seen without its hash. Until the rename it fits no file.
        record::write(&record, &digest.sha256, &meta, &self.layout.temporary()).map_err(fault)?;
        let target = self.layout.object(path);
        std::fs::rename(file, &target).map_err(fault)?;
        sync_directory(&target);
        Ok(described(path.clone(), &meta, Some(digest.sha256.clone())))
    }

    fn describe(&self, path: &StorePath, meta: &Metadata) -> ObjectMeta {
        described(path.clone(), meta, record::read(&self.layout.record(path), meta))
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn get(&self, path: &StorePath, options: GetOptions) -> Result<ObjectStream> {
        let (this, path) = (self.clone(), path.clone());
        off_thread(move || {
            let doing = format!("reading {path}");
            let mut file =
                std::fs::File::open(this.layout.existing(&path)?).map_err(|e| absent_or(&path, &doing, e))?;
            // Facts of the open file: another one may get this name while it is being read.
            let facts = file.metadata().map_err(|e| io_fault(&doing, e))?;
            let meta = this.describe(&path, &facts);
            let range = crate::range::resolve(&options, meta.size)?;
            file.seek(SeekFrom::Start(range.start)).map_err(|e| io_fault(&doing, e))?;
            let data = crate::range::read(tokio::fs::File::from_std(file), range.end - range.start, doing);
            Ok(ObjectStream { meta, range, data })
        })
        .await
    }

    async fn put(&self, path: &StorePath, data: ByteStream, options: StorePutOptions) -> Result<ObjectMeta> {
        let doing = format!("writing {path}");
        let (this, path, beginning) = (self.clone(), path.clone(), doing.clone());
        let temporary = self.layout.temporary();
        let staged = off_thread(move || StagedFile::create(&temporary).map_err(|e| io_fault(&beginning, e))).await?;
        let staged = staged.fill(&doing, data).await?;
        off_thread(move || {
            let digest = staged.digest();
            digest.check(path.as_str(), &options)?;
            this.adopt(staged.path(), &path, &digest)
        })
        .await
    }

    async fn head(&self, path: &StorePath) -> Result<ObjectMeta> {
        let (this, path) = (self.clone(), path.clone());
        off_thread(move || {
            let file = this.layout.existing(&path)?;
            let facts = file.metadata().map_err(|e| absent_or(&path, "looking", e))?;
            Ok(this.describe(&path, &facts))
        })
        .await
    }

    async fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned());
        off_thread(move || {
            let found = walk::objects(&this.layout, prefix.as_ref())?;
            Ok(found.iter().map(|(path, facts)| this.describe(path, facts)).collect())
        })
        .await
    }

    async fn delete(&self, path: &StorePath) -> Result<()> {
        let (this, path) = (self.clone(), path.clone());
        off_thread(move || {
            let _together = this.commits.lock();
            this.layout.existing(&path)?;
            std::fs::remove_file(this.layout.object(&path))
                .map_err(|e| absent_or(&path, &format!("deleting {path}"), e))?;
            // Without its object a record says nothing; a leftover would do no harm.
            let _ = std::fs::remove_file(this.layout.record(&path));
            this.layout.prune_parents(&path);
            Ok(())
        })
        .await
    }

    async fn local_path(&self, path: &StorePath) -> Result<Option<PathBuf>> {
        let (this, path) = (self.clone(), path.clone());
        off_thread(move || match this.layout.existing(&path) {
            Err(StoreError::NotFound(_)) => Ok(None),
            found => found.map(Some),
        })
        .await
    }

    fn kind(&self) -> &'static str {
        "local"
    }
}

fn described(path: StorePath, meta: &Metadata, sha256: Option<String>) -> ObjectMeta {
    let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let mut object = ObjectMeta::new(path, meta.len(), modified.as_secs());
    object.sha256 = sha256;
    object
}

fn absent_or(path: &StorePath, doing: &str, error: std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::NotFound => StoreError::NotFound(path.to_string()),
        _ => io_fault(doing, error),
    }
}

/// Makes a rename survive a power cut. Not every file system can; what is lost then is a file that can be fetched again.
fn sync_directory(target: &Path) {
    if let Some(dir) = target.parent()
        && let Err(error) = std::fs::File::open(dir).and_then(|dir| dir.sync_all())
    {
        tracing::debug!(dir = %dir.display(), %error, "the directory could not be synced");
    }
}
