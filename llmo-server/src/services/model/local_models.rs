//! The models of this machine: some are always there, the others come when they are asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use llmo_config::{AdapterConfig, Config};
use llmo_core::model::{PullStream, Result, RunningModel};
use llmo_core::{Model, ModelError, ModelInfo, Models};
use llmo_store::catalogue::{Task, suggest};
use llmo_store::manifest::Manifest;

use super::adapters;
use super::entry::{Entry, Source, State};
use super::handle::Handle;
use super::installed::{Installed, version};
use super::loader::Loader;
use super::memory;
use super::name::{Wanted, wanted};
use super::pull;
use super::shelf::{Settings, Shelf};
use crate::wiring::{WiringError, model_source};

/// Between two attempts to load a pinned model whose weights could not be had.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// The models of this machine.
///
/// * Those that the configuration names are loaded in the background, in turn, and stay: they are *pinned*.
/// * Every other installed model, and with `model.auto_pull` every model of the catalogue, is loaded by its first
///   request and unloaded when nobody has used it for a while, or when others need its place.
/// * LoRA adapters are models of their own, called `MODEL:ADAPTER`.
pub struct LocalModels {
    pub(super) shelf: Arc<Shelf>,
    /// Ids of the pinned models, the default one first.
    pinned: Vec<String>,
    installed: Installed,
}

impl LocalModels {
    /// Starts loading everything that `config` names, in the background and in turn.
    ///
    /// # Errors
    /// [`WiringError`] if the store or its sources can't be as configured.
    pub async fn start(config: &Config) -> Result<Arc<Self>, WiringError> {
        let source = model_source(&config.store, false).await?;
        let loader = Loader::new(source, config.for_engines());
        let shelf = Shelf::new(loader, Settings::of(&config.model));
        let wanted = wanted(&config.model);
        let pinned: Vec<String> = wanted.iter().map(|wanted| wanted.id.clone()).collect();
        let entries: Vec<_> = wanted.into_iter().map(|wanted| pin(&shelf, wanted)).collect();
        tokio::spawn(load_all(Arc::clone(&shelf), entries));
        Ok(Arc::new(Self { shelf, pinned, installed: Installed::default() }))
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
        let loader = Loader::new(source, config.model.clone());
        let adapter = config.model.adapters.iter().find(|adapter| adapters::id(adapter) == wanted.id);
        let entry = match adapter {
            Some(adapter) => {
                let base = Wanted { id: adapter.model.clone(), file: None };
                Arc::new(adapters::entry(&Arc::new(entry_of(base)), adapter))
            }
            None => Arc::new(entry_of(wanted)),
        };
        let room = memory::budget(&config.model);
        let prepared = loader.prepare(&entry, room).await.map_err(|failed| failed.error)?;
        prepared.load(Arc::new(|_| ())).await.map(|made| made.model).map_err(|failed| failed.error)
    }

    fn handle(&self, entry: &Entry, info: ModelInfo) -> Arc<dyn Model> {
        Arc::new(Handle::new(entry, info, Arc::clone(&self.shelf)))
    }

    /// What is installed, adapters included; models that are gone from the disk leave memory when they have no work.
    async fn look(&self) -> Arc<Vec<Manifest>> {
        let installed = self.installed.list(&self.shelf.loader).await;
        let here = |id: &str| installed.iter().any(|manifest| manifest.id == id);
        self.shelf.retain(|entry| match &entry.source {
            Source::Store => entry.pinned || entry.version == 0 || here(&entry.id),
            Source::File(_) => true,
            Source::Adapter { base, .. } => base.pinned || here(&base.id),
        });
        installed
    }

    fn installed_entry(&self, manifest: &Manifest) -> Arc<Entry> {
        let version = version(manifest);
        self.shelf.get_or_insert(&manifest.id, version, || Entry::new(&manifest.id, Source::Store, false, version))
    }

    /// The entry of a model, and what is known of it.
    async fn find(&self, name: &str) -> Result<(Arc<Entry>, ModelInfo)> {
        let catalogue = self.shelf.loader.source.library().catalogue();
        let id = catalogue.find(name).map_or(name, |known| known.id.as_str());
        let default = if name.is_empty() { self.pinned.first().map(String::as_str) } else { None };
        for id in default.into_iter().chain([name, id]) {
            if let Some(entry) = self.shelf.get(id).filter(|entry| entry.pinned) {
                let info = ready(&entry)?.info().clone();
                return Ok((entry, info));
            }
        }
        let installed = self.look().await;
        for manifest in installed.iter() {
            let default = name.is_empty() && manifest.task == Task::Generate;
            if default || manifest.id == name || manifest.id == id {
                let entry = self.installed_entry(manifest);
                let info = self.info(&entry, Some(manifest)).await;
                return info.map(|info| (entry, info)).ok_or_else(|| unknown(name, None));
            }
        }
        for adapter in &self.shelf.loader.config.adapters {
            if adapters::id(adapter) == name || adapter.name == name {
                return self.adapter(adapter, &installed).await;
            }
        }
        if let Some(known) = catalogue.find(name).filter(|_| self.shelf.loader.config.auto_pull) {
            let entry = self.shelf.get_or_insert(&known.id, 0, || Entry::new(&known.id, Source::Store, false, 0));
            let info = self.catalogued(&known.id).unwrap_or_else(|| entry.info());
            return Ok((entry, info));
        }
        let names = self.pinned.iter().map(String::as_str).chain(installed.iter().map(|m| m.id.as_str()));
        Err(unknown(name, suggest(name, names)))
    }

    async fn adapter(&self, adapter: &AdapterConfig, installed: &[Manifest]) -> Result<(Arc<Entry>, ModelInfo)> {
        let base = match self.shelf.get(&adapter.model).filter(|entry| entry.pinned) {
            Some(pinned) => pinned,
            None => {
                let manifest = installed.iter().find(|manifest| manifest.id == adapter.model);
                self.installed_entry(manifest.ok_or_else(|| unknown(&adapter.model, None))?)
            }
        };
        let manifest = installed.iter().find(|manifest| manifest.id == base.id);
        let of_base = self.info(&base, manifest).await.ok_or_else(|| unknown(&adapter.model, None))?;
        let entry = self.shelf.get_or_insert(&adapters::id(adapter), base.version, || adapters::entry(&base, adapter));
        let known = entry.info.read().clone();
        let info = known.unwrap_or_else(|| {
            let mut info = of_base;
            info.digest = info.digest.map(|digest| format!("{digest}+{}@{}", adapter.name, adapter.scale));
            info.id.clone_from(&entry.id);
            info
        });
        Ok((entry, info))
    }

    /// What its engine said of a model, else what its header says.
    async fn info(&self, entry: &Entry, manifest: Option<&Manifest>) -> Option<ModelInfo> {
        let known = entry.info.read().clone();
        match (known, manifest) {
            (Some(info), _) => Some(info),
            (None, Some(manifest)) => self.described(manifest).await,
            (None, None) => None,
        }
    }

    async fn described(&self, manifest: &Manifest) -> Option<ModelInfo> {
        self.installed.describe(&self.shelf, manifest).await
    }

    /// What the catalogue says of a model that was not fetched yet.
    fn catalogued(&self, id: &str) -> Option<ModelInfo> {
        let entry = self.shelf.loader.source.library().catalogue().find(id)?;
        let mut info = ModelInfo::new(&entry.id, "catalogue");
        info.digest = entry.files.first().and_then(|file| file.sha256.clone());
        let generates = entry.task == Task::Generate;
        info.capabilities.generate = generates;
        info.capabilities.chat = generates;
        info.capabilities.embed = !generates;
        info.capabilities.rerank = !generates;
        info.capabilities.tokenize = true;
        Some(info)
    }
}

fn unknown(name: &str, suggestion: Option<String>) -> ModelError {
    ModelError::NotFound { model: name.to_owned(), suggestion }
}

fn entry_of(wanted: Wanted) -> Entry {
    let source = wanted.file.map_or(Source::Store, Source::File);
    Entry::new(wanted.id, source, true, 0)
}

fn pin(shelf: &Arc<Shelf>, wanted: Wanted) -> Arc<Entry> {
    let id = wanted.id.clone();
    shelf.get_or_insert(&id, 0, || entry_of(wanted))
}

/// A pinned model, or what its callers are told. They are not kept waiting: whoever routes requests sees in `/readyz`
/// what goes on, and can send them elsewhere.
fn ready(entry: &Entry) -> Result<Arc<dyn Model>> {
    let id = &entry.id;
    match &*entry.state.lock() {
        State::Ready(resident) => Ok(Arc::clone(&resident.model)),
        State::Loading(loading) => Err(ModelError::Unavailable {
            reason: format!("the model {id:?} is being loaded ({})", loading.told()),
            retry_after: Duration::from_secs(1),
        }),
        State::Absent(None) => Err(ModelError::Unavailable {
            reason: format!("the model {id:?} is being loaded (waiting for its turn)"),
            retry_after: Duration::from_secs(1),
        }),
        State::Absent(Some(failure)) if failure.again => Err(ModelError::Unavailable {
            reason: format!("the model {id:?} could not be loaded and will be tried again: {}", failure.error),
            retry_after: Duration::from_secs(5),
        }),
        State::Absent(Some(failure)) => Err(failure.error.clone()),
    }
}

#[async_trait]
impl Models for LocalModels {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        let (entry, info) = self.find(name).await?;
        Ok(self.handle(&entry, info))
    }

    async fn list(&self) -> Vec<ModelInfo> {
        let pinned = self.pinned.iter().filter_map(|id| self.shelf.get(id)).filter_map(|entry| ready(&entry).ok());
        let mut infos: Vec<ModelInfo> = pinned.map(|model| model.info().clone()).collect();
        let installed = self.look().await;
        for manifest in installed.iter().filter(|manifest| !self.pinned.contains(&manifest.id)) {
            infos.extend(self.info(&self.installed_entry(manifest), Some(manifest)).await);
        }
        for adapter in &self.shelf.loader.config.adapters {
            let base_is_there = infos.iter().any(|info| info.id == adapter.model);
            if base_is_there && let Ok((_, info)) = self.adapter(adapter, &installed).await {
                infos.push(info);
            }
        }
        if self.shelf.loader.config.auto_pull {
            for entry in self.shelf.loader.source.library().catalogue().entries() {
                if !self.pinned.contains(&entry.id) && !infos.iter().any(|info| info.id == entry.id) {
                    infos.extend(self.catalogued(&entry.id));
                }
            }
        }
        infos
    }

    async fn running(&self) -> Vec<RunningModel> {
        // Pinned ones that are on their way can't be asked for yet, but their memory is taken.
        let pinned = self.pinned.iter().filter_map(|id| self.shelf.get(id));
        let arriving = pinned.filter(|entry| matches!(&*entry.state.lock(), State::Loading(_)));
        let now = Instant::now();
        let mut running: Vec<_> =
            arriving.filter_map(|entry| RunningModel::new(entry.info(), entry.load(now))).collect();
        for info in self.list().await {
            if let Ok(model) = self.resolve(&info.id).await {
                let loaded = RunningModel::new(info, model.load());
                running.extend(loaded.filter(|model| running.iter().all(|known| known.info.id != model.info.id)));
            }
        }
        running
    }

    async fn pull(&self, name: &str) -> Result<PullStream> {
        Ok(pull::run(self.shelf.loader.source.clone(), name.to_owned()))
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        // One of several models that can't be loaded must not take the others along; the default one may.
        let essential = |index: usize, entry: &Entry| {
            index == 0 || matches!(&*entry.state.lock(), State::Loading(_) | State::Absent(None))
        };
        let entries = self.pinned.iter().filter_map(|id| self.shelf.get(id)).enumerate();
        let reasons: Vec<_> = entries
            .filter(|(index, entry)| essential(*index, entry))
            .filter_map(|(_, entry)| entry.missing())
            .collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }
}

/// Loads the pinned models one after the other, then again those worth another try.
async fn load_all(shelf: Arc<Shelf>, entries: Vec<Arc<Entry>>) {
    let mut pending = entries;
    while !pending.is_empty() {
        let mut again = Vec::new();
        for entry in pending {
            if shelf.acquire_pinned(&entry).await {
                again.push(entry);
            }
        }
        pending = again;
        if !pending.is_empty() {
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}
