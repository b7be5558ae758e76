//! Making the manifest of a model that is being installed, and writing it last.

use bytes::Bytes;
use futures::StreamExt;
use llmo_core::store::{ObjectMeta, Store, StorePutOptions};

use crate::catalogue::{CatalogueEntry, Task, WeightsFormat};
use crate::error::ModelsError;
use crate::manifest::{MANIFEST, Manifest, ManifestFile};

impl ManifestFile {
    pub(super) fn new(name: impl Into<String>, size: u64, sha256: impl Into<String>) -> Self {
        Self { name: name.into(), size, sha256: sha256.into() }
    }
}

impl Manifest {
    /// What will be the manifest of a model of the catalogue, still without files.
    pub(super) fn of_entry(entry: &CatalogueEntry) -> Self {
        Self {
            title: entry.title.clone(),
            task: entry.task,
            weights: entry.weights,
            license: entry.license.clone(),
            ..Self::unnamed(&entry.id)
        }
    }

    /// What will be the manifest of a model of which only the id is known.
    pub(super) fn unnamed(id: &str) -> Self {
        Self {
            format: 1,
            id: id.to_owned(),
            title: String::new(),
            task: Task::Generate,
            weights: WeightsFormat::Gguf,
            license: String::new(),
            source: String::new(),
            installed: 0,
            files: Vec::new(),
        }
    }

    /// Writes it. From then on the model is there.
    pub(super) async fn write(&self, store: &dyn Store) -> Result<ObjectMeta, ModelsError> {
        let broken = |reason: String| ModelsError::Manifest { model: self.id.clone(), reason };
        let text = serde_json::to_vec_pretty(self).map_err(|e| broken(e.to_string()))?;
        let data = futures::stream::once(std::future::ready(Ok(Bytes::from(text)))).boxed();
        Ok(store.put(&self.path(MANIFEST)?, data, StorePutOptions::default()).await?)
    }
}
