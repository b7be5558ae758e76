//! The installed models of a store.
//!
//! ```text
//! smollm2-135m/model.gguf        its files …
//! smollm2-135m/manifest.json     … and what they must be; written last, removed first
//! ```

mod details;
mod local;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use llmo_core::store::{GetOptions, Store, StoreError, StorePath};

pub use details::ModelDetails;
pub use local::LocalModel;

use crate::catalogue::Catalogue;
use crate::digest::Summing;
use crate::error::ModelsError;
use crate::manifest::{MANIFEST, Manifest};

/// The models in one store, by the names of one catalogue. Cheap to clone.
#[derive(Clone)]
pub struct ModelLibrary {
    store: Arc<dyn Store>,
    catalogue: Arc<Catalogue>,
}

impl std::fmt::Debug for ModelLibrary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelLibrary").field("store", &self.store.kind()).finish_non_exhaustive()
    }
}

impl ModelLibrary {
    /// The models in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, catalogue: Arc<Catalogue>) -> Self {
        Self { store, catalogue }
    }

    /// The store that holds them.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The catalogue whose names are understood.
    #[must_use]
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// All installed models, ordered by id. One whose manifest can't be used is left out, with a warning in the log.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self) -> Result<Vec<Manifest>, ModelsError> {
        let mut models = BTreeMap::new();
        for object in self.store.list(None).await? {
            let Some((id, MANIFEST)) = object.path.as_str().split_once('/') else { continue };
            match Manifest::read(&*self.store, id).await {
                Ok(Some(manifest)) => drop(models.insert(id.to_owned(), manifest)),
                Ok(None) => {}
                Err(error) => tracing::warn!(model = id, %error, "left out of the list"),
            }
        }
        Ok(models.into_values().collect())
    }

    /// An installed model by id or alias.
    ///
    /// # Errors
    /// [`ModelsError::NotInstalled`] for a model of the catalogue, [`ModelsError::UnknownModel`] for any other.
    pub async fn get(&self, name: &str) -> Result<Manifest, ModelsError> {
        let id = self.id(name);
        // What is no path is no model either; it is not looked for.
        if StorePath::new(id).is_ok_and(|path| !path.as_str().contains('/'))
            && let Some(manifest) = Manifest::read(&*self.store, id).await?
        {
            return Ok(manifest);
        }
        if self.catalogue.find(name).is_some() {
            return Err(ModelsError::NotInstalled(id.to_owned()));
        }
        let installed = self.list().await?;
        let known = installed.iter().map(|manifest| manifest.id.as_str()).chain(self.catalogue.names());
        Err(ModelsError::unknown(name, known))
    }

    /// Removes all of a model, also one that was never completed, and tells how many bytes that were.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn remove(&self, name: &str) -> Result<u64, ModelsError> {
        let id = self.id(name);
        let objects = match StorePath::new(id) {
            Ok(dir) if !id.contains('/') => self.store.list(Some(&dir)).await?,
            _ => Vec::new(),
        };
        if objects.is_empty() {
            return self.get(name).await.map(|manifest| manifest.size());
        }
        let bytes = objects.iter().map(|object| object.size).sum();
        // The manifest goes first: a model that is half gone must not look installed.
        let (manifest, files): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| object.path.as_str() == format!("{id}/{MANIFEST}"));
        for object in manifest.into_iter().chain(files) {
            match self.store.delete(&object.path).await {
                Ok(()) | Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }

    /// Reads every byte of a model again and compares its hashes. `progress` is told of each piece's bytes.
    ///
    /// # Errors
    /// [`ModelsError::Corrupt`] for the first file that is not as it was; as for [`get`](Self::get).
    pub async fn verify(&self, name: &str, progress: impl Fn(u64) + Send) -> Result<Manifest, ModelsError> {
        let manifest = self.get(name).await?;
        for file in &manifest.files {
            let corrupt =
                |reason: String| ModelsError::Corrupt { model: manifest.id.clone(), file: file.name.clone(), reason };
            let path = manifest.path(&file.name)?;
            let mut data = match self.store.get(&path, GetOptions::default()).await {
                Ok(object) => object.data,
                Err(StoreError::NotFound(_)) => return Err(corrupt("it is missing".to_owned())),
                Err(error) => return Err(error.into()),
            };
            let mut sum = Summing::default();
            while let Some(piece) = data.try_next().await? {
                progress(piece.len() as u64);
                sum = crate::local::off_thread(move || {
                    sum.update(&piece);
                    Ok(sum)
                })
                .await?;
            }
            let found = sum.finish();
            if found.size != file.size {
                return Err(corrupt(format!("it has {} bytes instead of {}", found.size, file.size)));
            }
            if found.sha256 != file.sha256 {
                return Err(corrupt(format!("its sha256 is {} instead of {}", found.sha256, file.sha256)));
            }
        }
        Ok(manifest)
    }

    /// The id behind a name: that of the catalogue, else the name itself.
    pub(crate) fn id<'a>(&'a self, name: &'a str) -> &'a str {
        self.catalogue.find(name).map_or(name, |entry| entry.id.as_str())
    }
}
