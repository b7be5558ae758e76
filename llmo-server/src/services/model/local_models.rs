//! The models of this machine, loaded in the background.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use llmo_config::{Config, EngineKind, ModelConfig};
use llmo_core::model::Result;
use llmo_core::{Model, ModelError, ModelInfo, Models};
use llmo_store::ModelsError;
use llmo_store::catalogue::{Catalogue, suggest};
use llmo_store::pull::{Phase, Progress, Puller};
use parking_lot::RwLock;

use super::engine;
use super::name::{Wanted, wanted};
use super::state::State;
use crate::wiring::{WiringError, model_source};

/// Between two attempts to load a model whose weights could not be had.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// The models that a configuration names, each loading, ready or failed.
pub struct LocalModels {
    models: Vec<Arc<Entry>>,
    catalogue: Arc<Catalogue>,
}

struct Entry {
    wanted: Wanted,
    state: RwLock<State>,
}

impl LocalModels {
    /// Starts loading everything that `config` names, in the background and in turn.
    ///
    /// # Errors
    /// [`WiringError`] if the store or its sources can't be as configured.
    pub async fn start(config: &Config) -> Result<Arc<Self>, WiringError> {
        let source = model_source(&config.store, false).await?;
        let entries = wanted(&config.model).into_iter().map(|wanted| {
            let state = RwLock::new(State::Loading("waiting for its turn".to_owned()));
            Arc::new(Entry { wanted, state })
        });
        let models = Self { models: entries.collect(), catalogue: Arc::clone(source.library().catalogue()) };
        tokio::spawn(load_all(models.models.clone(), source, config.for_engines()));
        Ok(Arc::new(models))
    }

    /// Loads one model and waits for it: what a command line does without a running service. The empty name is the
    /// default model.
    ///
    /// # Errors
    /// Why it can't be loaded.
    pub async fn load_one(config: &Config, name: &str) -> Result<Arc<dyn Model>> {
        let source = model_source(&config.store, false).await.map_err(|e| ModelError::Internal(e.to_string()))?;
        let all = wanted(&config.model);
        let wanted = if name.is_empty() { all.into_iter().next() } else { all.into_iter().find(|w| w.id == name) };
        let wanted = wanted.unwrap_or_else(|| Wanted { id: name.to_owned(), file: None });
        load(&wanted, &source, &config.model, Arc::new(llmo_store::pull::Silent)).await.map_err(|(error, _)| error)
    }

    fn ready_models(&self) -> impl Iterator<Item = Arc<dyn Model>> {
        self.models.iter().filter_map(|entry| entry.state.read().model(&entry.wanted.id).ok())
    }

    fn find(&self, name: &str) -> Option<&Arc<Entry>> {
        if name.is_empty() {
            return self.models.first();
        }
        let id = self.catalogue.find(name).map_or(name, |known| known.id.as_str());
        self.models.iter().find(|entry| entry.wanted.id == name || entry.wanted.id == id)
    }
}

#[async_trait]
impl Models for LocalModels {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        let Some(entry) = self.find(name) else {
            let suggestion = suggest(name, self.models.iter().map(|entry| entry.wanted.id.as_str()));
            return Err(ModelError::NotFound { model: name.to_owned(), suggestion });
        };
        entry.state.read().model(&entry.wanted.id)
    }

    async fn list(&self) -> Vec<ModelInfo> {
        self.ready_models().map(|model| model.info().clone()).collect()
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        // One of several models that can't be loaded must not take the others along; the default one may.
        let essential = |index: usize, state: &State| index == 0 || matches!(state, State::Loading(_));
        let states = self.models.iter().enumerate().map(|(index, entry)| (index, entry, entry.state.read()));
        let reasons: Vec<_> = states
            .filter(|(index, _, state)| essential(*index, state))
            .filter_map(|(_, entry, state)| state.reason(&entry.wanted.id))
            .collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }
}

/// Loads models one after the other (engines must not be made concurrently), then again those worth another try.
async fn load_all(entries: Vec<Arc<Entry>>, source: Puller, config: ModelConfig) {
    let mut pending = entries;
    while !pending.is_empty() {
        let mut again = Vec::new();
        for entry in pending {
            if load_entry(&entry, &source, &config).await {
                again.push(entry);
            }
        }
        pending = again;
        if !pending.is_empty() {
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

/// True if it failed and is worth another try.
async fn load_entry(entry: &Arc<Entry>, source: &Puller, config: &ModelConfig) -> bool {
    let (started, id) = (Instant::now(), &entry.wanted.id);
    match load(&entry.wanted, source, config, Arc::new(ShowPhase(Arc::clone(entry)))).await {
        Ok(model) => {
            tracing::info!(model = id, seconds = started.elapsed().as_secs_f32(), "loaded");
            *entry.state.write() = State::Ready(model);
            false
        }
        Err((error, again)) => {
            tracing::error!(model = id, %error, again, "not loaded");
            *entry.state.write() = State::Failed { error, again };
            again
        }
    }
}

/// Fetches and loads a model; with an error, whether it may pass.
async fn load(
    wanted: &Wanted,
    source: &Puller,
    config: &ModelConfig,
    progress: Arc<dyn Progress>,
) -> Result<Arc<dyn Model>, (ModelError, bool)> {
    let config = config.clone();
    if config.engine == EngineKind::Sim {
        return Ok(engine::simulated(&wanted.id, &config));
    }
    if let Some(file) = wanted.file.clone() {
        let id = wanted.id.clone();
        // The digest is part of every cache key: a file that was replaced must not answer from its predecessor's cache.
        let load = move || {
            let unreadable = |e| ModelError::Internal(format!("cannot read MODEL_PATH={}: {e}", file.display()));
            let digest = llmo_store::file_sha256(&file).map_err(unreadable)?;
            engine::gguf(&file, &id, Some(digest), &config)
        };
        return off_runtime(load).await.map_err(|error| (error, false));
    }
    let failed = |error| store_error(&wanted.id, error);
    let model = source.ensure(&wanted.id, Arc::clone(&progress)).await.map_err(failed)?;
    // Reading the weights once more costs a fraction of a second; a flipped bit would cost trust in every answer.
    source.library().verify(&wanted.id, |_| {}).await.map_err(failed)?;
    progress.phase(&Phase::Installing { model: wanted.id.clone() });
    off_runtime(move || engine::load(&model, &config)).await.map_err(|error| (error, false))
}

async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(ModelError::Internal(format!("loading failed: {error}"))))
}

/// What a caller of the model is told, and whether trying again may help.
fn store_error(id: &str, error: ModelsError) -> (ModelError, bool) {
    match error {
        ModelsError::UnknownModel { name, suggestion } => (ModelError::NotFound { model: name, suggestion }, false),
        ModelsError::Corrupt { .. } | ModelsError::Damaged { .. } | ModelsError::Manifest { .. } => {
            (ModelError::Corrupt { model: id.to_owned(), reason: error.to_string() }, false)
        }
        ModelsError::NoSource { .. } | ModelsError::Store(_) => (ModelError::unavailable(error.to_string()), true),
        other => (ModelError::Internal(other.to_string()), false),
    }
}

/// Shows in `/readyz` what a pull is doing.
struct ShowPhase(Arc<Entry>);

impl ShowPhase {
    fn show(&self, doing: String) {
        let mut state = self.0.state.write();
        // A failure that is being tried again keeps its reason until the outcome is known.
        if let State::Loading(shown) = &mut *state {
            *shown = doing;
        }
    }
}

impl Progress for ShowPhase {
    fn phase(&self, phase: &Phase) {
        match phase {
            Phase::Waiting { .. } => self.show("another process is fetching it".to_owned()),
            Phase::Asking { source } => self.show(format!("asking {source}")),
            Phase::Receiving { file, .. } => self.show(format!("receiving {file}")),
            Phase::Installing { .. } => self.show("loading".to_owned()),
            _ => {}
        }
    }

    fn bytes(&self, _: u64, _: Option<u64>) {}
}
