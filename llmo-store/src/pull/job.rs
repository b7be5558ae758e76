//! One pull of one model: what is wanted, what is here already, where parts are kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use llmo_core::store::{Result, Store, StorePath};
use parking_lot::Mutex;

use super::lock::PullLock;
use super::part::Part;
use super::progress::{Phase, Progress};
use super::source::SourceError;
use crate::digest::Digest;
use crate::local::{LocalStore, io_fault, off_thread};

/// A file that a model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its path below the model's directory.
    pub(super) name: String,
    /// Bytes, if pinned.
    pub(super) size: Option<u64>,
    /// sha256, if pinned.
    pub(super) sha256: Option<String>,
}

/// A file that is complete and checked.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) name: String,
    pub(super) digest: Digest,
    /// Where it waits to be installed; `None` if it is installed already.
    pub(super) staged: Option<PathBuf>,
}

/// One pull of one model.
pub(super) struct Job {
    pub(super) model: String,
    pub(super) progress: Arc<dyn Progress>,
    wanted: Vec<Wanted>,
    received: Mutex<Vec<Received>>,
    meter: Arc<Meter>,
    staging: PathBuf,
    lock: Arc<PullLock>,
}

impl Job {
    /// Looks at what an interrupted pull has installed already. The caller holds the model's lock.
    pub(super) async fn new(
        store: &LocalStore,
        model: &str,
        wanted: Vec<Wanted>,
        progress: Arc<dyn Progress>,
        lock: Arc<PullLock>,
    ) -> Result<Self> {
        let staging = staging(store, model);
        let (dir, doing) = (staging.clone(), format!("making a place for {model}"));
        off_thread(move || std::fs::create_dir_all(dir).map_err(|e| io_fault(&doing, e))).await?;
        let total = wanted.iter().map(|file| file.size).sum();
        let meter = Arc::new(Meter { done: AtomicU64::new(0), total, progress: progress.clone() });
        let mut received = Vec::new();
        for file in wanted.iter().filter(|file| file.sha256.is_some()) {
            let Ok(meta) = store.head(&StorePath::new(format!("{model}/{}", file.name))?).await else { continue };
            // A recorded hash is one that we computed while writing this very file.
            if meta.sha256 == file.sha256 {
                meter.add(meta.size);
                let digest = Digest { sha256: meta.sha256.unwrap_or_default(), size: meta.size };
                received.push(Received { name: file.name.clone(), digest, staged: None });
            }
        }
        Ok(Self { model: model.to_owned(), progress, wanted, received: Mutex::new(received), meter, staging, lock })
    }

    /// The files that no source has completed yet.
    pub(super) fn missing(&self) -> Vec<Wanted> {
        let received = self.received.lock();
        self.wanted.iter().filter(|file| received.iter().all(|r| r.name != file.name)).cloned().collect()
    }

    /// What is complete.
    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    /// A directory for what a source needs on the way.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        // No staged file is called so: they end in ".part".
        self.staging.join(name)
    }

    /// The part of `wanted` that is here, and a word to whoever is watching.
    pub(super) async fn open(&self, wanted: &Wanted) -> Result<Part> {
        // '%' is in no file name of a store, so that no two files share a part.
        let path = self.staging.join(format!("{}.part", wanted.name.replace('/', "%")));
        let part = Part::open(path, wanted.clone(), self.meter.clone(), self.lock.clone()).await?;
        self.progress.phase(&Phase::Receiving { file: wanted.name.clone(), resumed: part.offset() });
        Ok(part)
    }

    /// Takes a part as complete.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] if its bytes are not the wanted ones; the part is empty then.
    pub(super) async fn complete(&self, part: &Part) -> Result<(), SourceError> {
        match part.check() {
            Ok(digest) => {
                let staged = Some(part.path().to_owned());
                self.received.lock().push(Received { name: part.wanted().name.clone(), digest, staged });
                Ok(())
            }
            Err(error) => {
                part.restart().await?;
                Err(error.into())
            }
        }
    }

    /// Forgets a part that is left for the next source or the next pull.
    pub(super) fn set_aside(&self, part: &Part) {
        self.meter.take_back(part.offset());
    }
}

/// Where parts of a model's files are kept.
pub(super) fn staging(store: &LocalStore, model: &str) -> PathBuf {
    store.layout().hidden("pulls").join(model)
}

/// Counts the bytes of a whole model.
pub(super) struct Meter {
    done: AtomicU64,
    total: Option<u64>,
    progress: Arc<dyn Progress>,
}

impl Meter {
    pub(super) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.bytes(done, self.total);
    }

    pub(super) fn take_back(&self, bytes: u64) {
        let done = self.done.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes);
        self.progress.bytes(done, self.total);
    }
}
