//! From a name to an engine: fetch, verify, measure, load.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use llmo_config::{AdapterConfig, EngineKind, ModelConfig};
use llmo_core::model::{LoadProgress, LoadStep, Result};
use llmo_core::{ModelError, ModelInfo};
use llmo_store::ModelsError;
use llmo_store::catalogue::{Task, WeightsFormat};
use llmo_store::models::LocalModel;
use llmo_store::pull::{Phase, Progress, Puller, Silent};

use super::budget::Need;
use super::entry::{Entry, Source};
use super::stamps::Stamps;
use super::terms::{Made, OnProgress, Terms};
use super::{engine, header, int8};

/// Why a model is not in memory.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: ModelError,
    /// Trying again may help.
    pub(super) again: bool,
    /// Only room was missing.
    pub(super) room: bool,
}

impl Failed {
    pub(super) fn for_good(error: ModelError) -> Self {
        Self { error, again: false, room: false }
    }
}

/// Makes engines of entries.
pub(super) struct Loader {
    pub(super) source: Puller,
    pub(super) config: ModelConfig,
    stamps: Stamps,
}

/// A model whose files are there and sound, and that was measured.
pub(super) struct Prepared {
    /// What it will take: just that where the engine is told to keep to a plan, else an estimate.
    pub(super) need: Need,
    pub(super) terms: Terms,
    files: Files,
    config: ModelConfig,
}

enum Files {
    None { id: String },
    Installed(Box<LocalModel>),
    Gguf { file: PathBuf, id: String, digest: String },
}

impl Loader {
    pub(super) fn new(source: Puller, config: ModelConfig) -> Self {
        Self { source, config, stamps: Stamps::default() }
    }

    /// Fetches and verifies a model's files, and decides what it will take, which stays within `room` bytes if its settings
    /// let it.
    pub(super) async fn prepare(&self, entry: &Arc<Entry>, room: u64) -> Result<Prepared, Failed> {
        // One adapter at most is any engine's business: its own.
        let mut config = ModelConfig { adapters: Vec::new(), ..self.config.clone() };
        if self.config.engine == EngineKind::Sim {
            let size = self.source.library().get(&entry.id).await.map_or(0, |manifest| manifest.size());
            let need = Need { weights: size, ..Need::default() };
            return Ok(Prepared { need, terms: Terms::default(), files: Files::None { id: entry.id.clone() }, config });
        }
        let (of, adapter) = match &entry.source {
            Source::Adapter { base, adapter } => (base, Some(adapter)),
            _ => (entry, None),
        };
        config.adapters = adapter.cloned().into_iter().collect();
        config.draft = self.draft(&of.id).await?;
        match &of.source {
            Source::File(file) => self.file(file.clone(), entry, adapter, config, room).await,
            _ => self.installed(of, entry, adapter, config, room).await,
        }
    }

    /// The file of the draft model for a model; empty: none.
    async fn draft(&self, of: &str) -> Result<String, Failed> {
        let draft = self.config.draft.as_str();
        // None guesses for itself.
        if draft.is_empty() || draft == of || !engine::is_llama_cpp(&self.config) {
            return Ok(String::new());
        }
        if Path::new(draft).is_file() {
            return Ok(draft.to_owned());
        }
        // Whoever named it wants it to be there.
        let model = self.source.ensure(draft, Arc::new(Silent)).await;
        let model = model.map_err(|error| {
            let Failed { error, again, room } = store_error(draft, error);
            Failed { error: ModelError::invalid("model.draft", format!("{draft}: {error}")), again, room }
        })?;
        self.verify(&model, &Silent).await.map_err(|error| store_error(draft, error))?;
        Ok(model.weights.display().to_string())
    }

    async fn file(
        &self,
        file: PathBuf,
        entry: &Arc<Entry>,
        adapter: Option<&AdapterConfig>,
        config: ModelConfig,
        room: u64,
    ) -> Result<Prepared, Failed> {
        let (id, progress) = (entry.id.as_str(), show(entry));
        entry.doing("verifying", LoadProgress::new(LoadStep::Checking));
        let (stamps, path) = (self.stamps.clone(), file.clone());
        let digest = move || {
            let unreadable = |e| ModelError::Internal(format!("cannot read MODEL_PATH={}: {e}", path.display()));
            // The digest is part of every cache key: a file that was replaced must not answer from its predecessor's cache.
            stamps.digest(&path).map_err(unreadable)
        };
        let digest = off_runtime(digest).await.map_err(Failed::for_good)?;
        let (file, digest) = int8::as_configured_file(file, id, digest, &self.source, &config, &*progress)
            .await
            .map_err(|error| store_error(id, error))?;
        let (path, measured_with, adapter, id) = (file.clone(), config.clone(), adapter.cloned(), id.to_owned());
        let work = move || {
            let (need, terms) = gguf_need(&path, &id, &measured_with, room)?;
            with_adapter(&id, digest, need, adapter.as_ref()).map(|(id, digest, need)| (id, digest, need, terms))
        };
        let (name, digest, need, terms) = off_runtime(work).await.map_err(Failed::for_good)?;
        Ok(Prepared { need, terms, files: Files::Gguf { file, id: name, digest }, config })
    }

    async fn installed(
        &self,
        of: &Entry,
        entry: &Arc<Entry>,
        adapter: Option<&AdapterConfig>,
        config: ModelConfig,
        room: u64,
    ) -> Result<Prepared, Failed> {
        let (id, progress) = (entry.id.as_str(), show(entry));
        let failed = |error| store_error(&of.id, error);
        let model = if of.pinned || self.config.auto_pull {
            self.source.ensure(&of.id, Arc::clone(&progress)).await.map_err(failed)?
        } else {
            self.source.library().local(&of.id).await.map_err(failed)?
        };
        progress.phase(&Phase::Installing { model: of.id.clone() });
        self.verify(&model, &*progress).await.map_err(failed)?;
        let model = int8::as_configured(model, &self.source, &config, &*progress).await.map_err(failed)?;
        let digest = model.manifest.weights_file().map(|file| file.sha256.clone()).unwrap_or_default();
        let (adapter, name, measured_with) = (adapter.cloned(), id.to_owned(), config.clone());
        let (local, size) = (model.clone(), model.manifest.size());
        let work = move || {
            let (need, terms) = match local.manifest.weights {
                WeightsFormat::Gguf => gguf_need(&local.weights, &name, &measured_with, room)?,
                _ => (Need { weights: size, own: size / 4 }, Terms::default()),
            };
            with_adapter(&name, digest, need, adapter.as_ref()).map(|(_, digest, need)| (digest, need, terms))
        };
        let (digest, need, terms) = off_runtime(work).await.map_err(Failed::for_good)?;
        let files = if config.adapters.is_empty() {
            Files::Installed(Box::new(model))
        } else {
            Files::Gguf { file: model.weights, id: id.to_owned(), digest }
        };
        Ok(Prepared { need, terms, files, config })
    }

    /// Compares every byte with its hash, unless this process has done so and the files are the same ones still: a
    /// second for each gigabyte or so would be too much for each coming and going, and a process that has seen the
    /// right bytes has them in the page cache most of the time.
    async fn verify(&self, model: &LocalModel, progress: &dyn Progress) -> Result<(), ModelsError> {
        let paths: Vec<PathBuf> = model.manifest.files.iter().map(|file| model.dir.join(&file.name)).collect();
        let (stamps, seen) = (self.stamps.clone(), paths.clone());
        let known = tokio::task::spawn_blocking(move || stamps.known(&seen)).await.unwrap_or(false);
        if known {
            return Ok(());
        }
        let before = self.stamps.take(&paths);
        let (done, total) = (AtomicU64::new(0), model.manifest.size());
        let read = |bytes| progress.bytes(done.fetch_add(bytes, Ordering::Relaxed) + bytes, Some(total));
        self.source.library().verify(&model.manifest.id, read).await?;
        self.stamps.remember(before);
        Ok(())
    }

    /// What is known of an installed model without loading it. Blocking: reads the header.
    pub(super) fn describe(&self, model: &LocalModel) -> ModelInfo {
        let (manifest, id) = (&model.manifest, model.manifest.id.as_str());
        let mut info = match manifest.weights {
            _ if self.config.engine == EngineKind::Sim => engine::simulated(id, &self.config).info().clone(),
            WeightsFormat::Gguf => {
                let backend = engine::gguf_backend(&self.config);
                let size = manifest.weights_file().map_or(0, |file| file.size);
                match header::read(&model.weights) {
                    Ok(header) => header::describe(&header, id, backend, size, &self.config),
                    Err(_) => ModelInfo::new(id, backend),
                }
            }
            _ => {
                let mut info = ModelInfo::new(id, "candle");
                info.size_bytes = manifest.size();
                info.capabilities.tokenize = true;
                info
            }
        };
        if self.config.engine != EngineKind::Sim {
            info.capabilities.generate = manifest.task == Task::Generate;
            info.capabilities.embed = manifest.task == Task::Embed;
            info.capabilities.rerank = manifest.task == Task::Embed;
        }
        info.created = manifest.installed;
        info.digest = manifest.weights_file().map(|file| file.sha256.clone());
        info
    }
}

impl Prepared {
    /// Makes the engine. `watch` is told how far that is.
    pub(super) async fn load(self, watch: OnProgress) -> Result<Made, Failed> {
        let Self { files, terms, config, .. } = self;
        let work = move || match files {
            Files::None { id } => Ok(Made::silently(engine::simulated(&id, &config))),
            Files::Installed(model) => engine::load(&model, &config, terms, watch),
            Files::Gguf { file, id, digest } => engine::gguf(&file, &id, Some(digest), &config, terms, watch),
        };
        off_runtime(work).await.map_err(Failed::for_good)
    }
}

/// What a GGUF file will take, and how it is to be loaded so that it does.
fn gguf_need(file: &Path, id: &str, config: &ModelConfig, room: u64) -> Result<(Need, Terms)> {
    let missing = || ModelError::NotFound { model: file.display().to_string(), suggestion: None };
    let size = file.metadata().map_err(|_| missing())?.len();
    let corrupt = |reason| ModelError::Corrupt { model: id.to_owned(), reason };
    let header = header::read(file).map_err(corrupt)?;
    #[cfg(feature = "llama-cpp")]
    if engine::is_llama_cpp(config) {
        let (need, plan) = header::plan(&header, size, config, room)?;
        return Ok((need, Terms { plan: Some(plan), ..Terms::default() }));
    }
    #[cfg(not(feature = "llama-cpp"))]
    let _ = room;
    Ok((header::need(&header, size, config), Terms::default()))
}

/// The digest and the need of a model with its adapter, if it has one.
fn with_adapter(
    id: &str,
    digest: String,
    mut need: Need,
    adapter: Option<&AdapterConfig>,
) -> Result<(String, String, Need)> {
    let Some(adapter) = adapter else { return Ok((id.to_owned(), digest, need)) };
    let unreadable = |e: std::io::Error| {
        let message = format!("the adapter {:?} can't be read from {}: {e}", adapter.name, adapter.path.display());
        ModelError::invalid("model.adapters", message)
    };
    need.own = need.own.saturating_add(adapter.path.metadata().map_err(unreadable)?.len());
    let own = llmo_store::file_sha256(&adapter.path).map_err(unreadable)?;
    Ok((id.to_owned(), format!("{digest}+{own}@{}", adapter.scale), need))
}

async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(ModelError::Internal(format!("loading failed: {error}"))))
}

/// What a caller of the model is told, and whether trying again may help.
fn store_error(id: &str, error: ModelsError) -> Failed {
    let (error, again) = match error {
        ModelsError::UnknownModel { name, suggestion } => (ModelError::NotFound { model: name, suggestion }, false),
        ModelsError::NotInstalled(name) => (ModelError::NotFound { model: name, suggestion: None }, false),
        ModelsError::Corrupt { .. } | ModelsError::Damaged { .. } | ModelsError::Manifest { .. } => {
            (ModelError::Corrupt { model: id.to_owned(), reason: error.to_string() }, false)
        }
        ModelsError::NoSource { .. } | ModelsError::Store(_) => (ModelError::unavailable(error.to_string()), true),
        other => (ModelError::Internal(other.to_string()), false),
    };
    Failed { error, again, room: false }
}

fn show(entry: &Arc<Entry>) -> Arc<dyn Progress> {
    Arc::new(ShowPhase(Arc::clone(entry)))
}

/// Shows in `/readyz`, in `/api/ps` and to whoever waits what a pull is doing.
struct ShowPhase(Arc<Entry>);

impl Progress for ShowPhase {
    fn phase(&self, phase: &Phase) {
        let (doing, step) = match phase {
            Phase::Waiting { .. } => ("another process is fetching it".to_owned(), LoadStep::Waiting),
            Phase::Asking { source } => (format!("asking {source}"), LoadStep::Fetching),
            Phase::Receiving { file, .. } => (format!("receiving {file}"), LoadStep::Fetching),
            Phase::Installing { .. } => ("verifying".to_owned(), LoadStep::Checking),
            _ => return,
        };
        self.0.doing(doing, LoadProgress::new(step));
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        self.0.done(done, total.unwrap_or(0));
    }
}
