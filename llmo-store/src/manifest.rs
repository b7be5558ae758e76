//! The manifest of an installed model: written last, so a model without one isn't there.

use bytes::Bytes;
use futures::TryStreamExt;
use llmo_core::store::{GetOptions, Store, StorePath};
use serde::{Deserialize, Serialize};

use crate::catalogue::{Task, WeightsFormat, id_fault};
use crate::digest::is_sha256;
use crate::error::ModelsError;

/// Its name in a model's directory.
pub const MANIFEST: &str = "manifest.json";

/// A manifest lists a handful of files; a larger one is somebody's mistake or worse.
const MAX_BYTES: u64 = 1 << 20;

/// What an installed model consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// Version of this form: 1.
    pub format: u32,
    /// The model, and its directory in the store.
    pub id: String,
    /// What it is, for people.
    #[serde(default)]
    pub title: String,
    /// What it does.
    pub task: Task,
    /// How its weights are stored.
    pub weights: WeightsFormat,
    /// SPDX identifier of its license; empty if it isn't known.
    #[serde(default)]
    pub license: String,
    /// Where it came from, for people.
    #[serde(default)]
    pub source: String,
    /// Unix time of its installation, in seconds.
    #[serde(default)]
    pub installed: u64,
    /// Its files.
    pub files: Vec<ManifestFile>,
}

/// A file of an installed model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestFile {
    /// Its path below the model's directory.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// sha256 in lower-case hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The file with the weights: the first of several.
    #[must_use]
    pub fn weights_file(&self) -> Option<&ManifestFile> {
        let ending = match self.weights {
            WeightsFormat::Gguf => ".gguf",
            WeightsFormat::Safetensors => ".safetensors",
        };
        self.files.iter().find(|file| file.name.ends_with(ending))
    }

    /// Where a file of this model is in a store.
    ///
    /// # Errors
    /// [`ModelsError::Store`] if the name is no path.
    pub fn path(&self, file: &str) -> Result<StorePath, ModelsError> {
        Ok(StorePath::new(format!("{}/{file}", self.id))?)
    }

    /// Reads and checks the manifest of the model `id`; `None` if it isn't there.
    pub(crate) async fn read(store: &dyn Store, id: &str) -> Result<Option<Self>, ModelsError> {
        let path = StorePath::new(format!("{id}/{MANIFEST}"))?;
        let object = match store.get(&path, GetOptions::range(0, MAX_BYTES)).await {
            Ok(object) => object,
            Err(llmo_core::StoreError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes: Vec<Bytes> = object.data.try_collect().await?;
        let broken = |reason: String| ModelsError::Manifest { model: id.to_owned(), reason };
        let manifest: Self = serde_json::from_slice(&bytes.concat()).map_err(|e| broken(e.to_string()))?;
        match manifest.fault(id) {
            None => Ok(Some(manifest)),
            Some(reason) => Err(broken(reason)),
        }
    }

    fn fault(&self, id: &str) -> Option<String> {
        if self.format != 1 {
            return Some(format!("its format is {}; this llmo knows 1", self.format));
        }
        if self.id != id || id_fault(id).is_some() {
            return Some(format!("it names the model {:?}", self.id));
        }
        let bad = |file: &&ManifestFile| self.path(&file.name).is_err() || !is_sha256(&file.sha256);
        self.files.iter().find(bad).map(|file| format!("bad file entry {:?}", file.name))
    }
}
