//! Getting the weights of a model into a local store.
//!
//! ```text
//! name ─► plan ─► lock ─► source ─┬─► .llmo/pulls/<model>/*.part ─► sha256 ─► headers ─► store ─► manifest
//!                          next ◄─┘ unreachable, 404, other bytes
//! ```
//!
//! * One pull per model at a time, across processes: the others wait, and find it installed.
//! * An interrupted pull (also by `kill -9`) leaves parts that nobody sees. The next pull reads them for their hash
//!   and goes on where they end, if the source can.
//! * A model becomes visible with its manifest: after every file's hash and every weight file's header was checked.
//! * A full disk ends the pull at once and removes the parts: they would keep the disk full.

mod directory;
mod from_store;
mod http;
mod hub;
mod import;
mod job;
mod lock;
mod manifest;
mod options;
mod part;
mod pip;
mod plan;
mod pour;
mod progress;
mod registry;
mod source;
mod variant;
mod wheel;

use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use llmo_core::store::StoreError;

pub use options::{PullOptions, SourceKind};
pub use progress::{Phase, Progress, Silent};
pub use variant::VariantSource;

use crate::catalogue::Catalogue;
use crate::error::{Attempt, ModelsError};
use crate::header;
use crate::local::{LocalStore, off_thread};
use crate::manifest::{Manifest, ManifestFile};
use crate::models::{LocalModel, ModelLibrary};
use job::Job;
use lock::PullLock;
use plan::Plan;
use source::SourceError;

/// Gets models into one local store. Cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), llmo_store::ModelsError> {
/// use std::sync::Arc;
/// use llmo_store::{catalogue::Catalogue, local::LocalStore, pull::{Puller, PullOptions, Silent}};
///
/// let store = LocalStore::open("models").await?;
/// let puller = Puller::new(store, Arc::new(Catalogue::builtin()?), PullOptions::default());
/// let model = puller.ensure("smollm2", Arc::new(Silent)).await?;
/// println!("{}", model.weights.display());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Puller {
    store: LocalStore,
    library: ModelLibrary,
    options: Arc<PullOptions>,
}

impl Puller {
    /// Pulls into `store`.
    #[must_use]
    pub fn new(store: LocalStore, catalogue: Arc<Catalogue>, options: PullOptions) -> Self {
        let library = ModelLibrary::new(Arc::new(store.clone()), catalogue);
        Self { store, library, options: Arc::new(options) }
    }

    /// The models of the store.
    #[must_use]
    pub fn library(&self) -> &ModelLibrary {
        &self.library
    }

    /// The files of a model, which is pulled first if it isn't installed.
    ///
    /// # Errors
    /// As for [`pull`](Self::pull).
    pub async fn ensure(&self, name: &str, progress: Arc<dyn Progress>) -> Result<LocalModel, ModelsError> {
        match self.library.local(name).await {
            Ok(model) => Ok(model),
            Err(_) => {
                let manifest = self.pull(name, progress).await?;
                self.library.local(&manifest.id).await
            }
        }
    }

    /// Installs a model of the catalogue, or of the upstream store. One that is complete is left alone.
    ///
    /// Dropping the future ends the pull; what has come stays for the next one.
    ///
    /// # Errors
    /// [`ModelsError::UnknownModel`], [`ModelsError::Unpinned`], [`ModelsError::NoSource`] with what every source
    /// said, [`ModelsError::Damaged`], or the store's own ([`StoreError::NoSpace`]).
    pub async fn pull(&self, name: &str, progress: Arc<dyn Progress>) -> Result<Manifest, ModelsError> {
        // Asked first, so that an installed model needs neither catalogue nor network.
        if let Some(manifest) = self.installed(name).await {
            return Ok(manifest);
        }
        let plan = Plan::new(name, self.library.catalogue(), &self.options).await?;
        let id = plan.manifest.id.clone();
        let lock = PullLock::acquire(&self.store.layout().hidden("locks"), &id, &*progress).await?;
        if let Some(manifest) = self.installed(&id).await {
            return Ok(manifest);
        }
        let job = Job::new(&self.store, &id, plan.wanted.clone(), progress, lock).await?;
        let outcome = match self.receive(&job, &plan).await {
            Ok(source) => self.install(&job, plan.manifest, source).await,
            Err(error) => Err(error),
        };
        // Parts stay for the next pull, except where they do harm or are of no use.
        let keep =
            !matches!(outcome, Ok(_) | Err(ModelsError::Store(StoreError::NoSpace(_)) | ModelsError::Damaged { .. }));
        if !keep {
            remove_directory(job::staging(&self.store, &id)).await?;
        }
        outcome
    }

    /// Imports a GGUF file, or a directory with safetensors, tokenizer and configuration, as the model `name`.
    /// A name of the catalogue takes only the bytes that the catalogue pins.
    ///
    /// # Errors
    /// [`ModelsError::Import`], [`ModelsError::Damaged`], [`ModelsError::AlreadyInstalled`],
    /// [`ModelsError::InvalidName`], or the store's own.
    pub async fn import(&self, path: &Path, name: &str, progress: Arc<dyn Progress>) -> Result<Manifest, ModelsError> {
        import::run(&self.store, &self.library, path, name, progress).await
    }

    async fn installed(&self, name: &str) -> Option<Manifest> {
        match self.library.local(name).await {
            Ok(model) => Some(model.manifest),
            Err(ModelsError::NotInstalled(_) | ModelsError::UnknownModel { .. }) => None,
            Err(error) => {
                tracing::warn!(model = name, %error, "pulling it again");
                None
            }
        }
    }

    async fn receive(&self, job: &Job, plan: &Plan) -> Result<String, ModelsError> {
        if job.missing().is_empty() {
            return Ok("an earlier pull".to_owned());
        }
        let mut attempts = Vec::new();
        for source in &plan.sources {
            let name = source.name();
            job.progress.phase(&Phase::Asking { source: name.clone() });
            match source.fetch(job).await {
                Ok(()) => return Ok(name),
                Err(SourceError::Fatal(error)) => return Err(error.into()),
                Err(SourceError::Unusable { reason, remedy }) => {
                    tracing::info!(model = job.model, source = name, reason, "this source did not serve");
                    job.progress.phase(&Phase::Failed { source: name.clone(), reason: reason.clone() });
                    attempts.push(Attempt { source: name, reason, remedy });
                }
            }
        }
        Err(ModelsError::NoSource { model: job.model.clone(), attempts })
    }

    async fn install(&self, job: &Job, mut manifest: Manifest, source: String) -> Result<Manifest, ModelsError> {
        job.progress.phase(&Phase::Installing { model: manifest.id.clone() });
        let received = job.received();
        for file in &received {
            match &file.staged {
                Some(path) => header::of_file(path, &file.name).await?,
                None => header::of_object(&self.store, &manifest.path(&file.name)?, file.digest.size).await?,
            };
        }
        manifest.source = source;
        manifest.installed = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        manifest.files = Vec::new();
        for file in received {
            let (store, path) = (self.store.clone(), manifest.path(&file.name)?);
            manifest.files.push(ManifestFile::new(file.name, file.digest.size, file.digest.sha256.clone()));
            if let Some(staged) = file.staged {
                off_thread(move || store.adopt(&staged, &path, &file.digest)).await?;
            }
        }
        manifest.write(&self.store).await?;
        Ok(manifest)
    }
}

async fn remove_directory(dir: std::path::PathBuf) -> Result<(), StoreError> {
    off_thread(move || {
        if let Err(error) = std::fs::remove_dir_all(&dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), %error, "the parts of a pull could not be removed");
        }
        Ok(())
    })
    .await
}
