//! The models that are installed on this machine, looked up again when the last look is old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_core::ModelInfo;
use llmo_store::manifest::Manifest;
use llmo_store::models::LocalModel;
use parking_lot::Mutex;

use super::loader::Loader;
use super::shelf::Shelf;

/// A look at the disk is believed this long. Health checks ask every two seconds.
const FRESH: Duration = Duration::from_secs(1);

/// What is installed.
#[derive(Default)]
pub(super) struct Installed {
    last: tokio::sync::Mutex<Option<(Instant, Arc<Vec<Manifest>>)>>,
    /// What headers say, by name and version.
    described: Mutex<HashMap<String, (u64, ModelInfo)>>,
}

/// Tells one installation of a model from the next.
pub(super) fn version(manifest: &Manifest) -> u64 {
    let weights = manifest.weights_file().and_then(|file| file.sha256.get(..12));
    let weights = weights.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    weights.wrapping_mul(31).wrapping_add(manifest.installed)
}

impl Installed {
    /// All installed models, ordered by id. If the store can't be read, what was there the last time.
    pub(super) async fn list(&self, loader: &Loader) -> Arc<Vec<Manifest>> {
        let mut last = self.last.lock().await;
        if let Some((_, models)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Arc::clone(models);
        }
        let before = last.take().map(|(_, models)| models).unwrap_or_default();
        let models = match loader.source.library().list().await {
            Ok(models) => Arc::new(models),
            Err(error) => {
                tracing::warn!(%error, "the installed models can't be listed");
                before
            }
        };
        *last = Some((Instant::now(), Arc::clone(&models)));
        models
    }

    /// What a model's header says; `None` if its files are not all there.
    pub(super) async fn describe(&self, shelf: &Arc<Shelf>, manifest: &Manifest) -> Option<ModelInfo> {
        let version = version(manifest);
        if let Some((_, info)) = self.described.lock().get(&manifest.id).filter(|(known, _)| *known == version) {
            return Some(info.clone());
        }
        let model: LocalModel = shelf.loader.source.library().local(&manifest.id).await.ok()?;
        let shelf = Arc::clone(shelf);
        let info = tokio::task::spawn_blocking(move || shelf.loader.describe(&model)).await.ok()?;
        self.described.lock().insert(manifest.id.clone(), (version, info.clone()));
        Some(info)
    }
}
