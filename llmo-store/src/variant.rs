//! Variants of models: the same model with its weights stored in another way, made on this machine and kept.
//!
//! ```text
//! smollm2-135m/model.gguf             the model
//! smollm2-135m/manifest.json
//! smollm2-135m/q8_0/model.gguf        its variant
//! smollm2-135m/q8_0/manifest.json     what it was made from and by, and what it costs and gives; written last
//! ```
//!
//! A variant goes when its model is removed. It is void when the model's weights have another hash than those that it was
//! made from.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use llmo_core::store::{GetOptions, Store, StoreError, StorePath, StorePutOptions};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::is_sha256;
use crate::error::ModelsError;
use crate::manifest::{MANIFEST, ManifestFile};

/// The weights' name in a variant's directory.
pub const VARIANT_WEIGHTS: &str = "model.gguf";

const MAX_BYTES: u64 = 1 << 20;

/// The manifest of a variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Variant {
    /// Version of this form: 1.
    pub format: u32,
    /// The model.
    pub model: String,
    /// The variant, and its directory in the model's: `q8_0`.
    pub variant: String,
    /// sha256 of the weights that it was made from.
    pub source_sha256: String,
    /// What made it, with its version.
    pub tool: String,
    /// Unix time of its making, in seconds.
    pub made: u64,
    /// Its weights. The name is below the model's directory.
    pub file: ManifestFile,
    /// What the model costs and gives without and with the variant, as measured on the machine that made it: an object with
    /// `before` and `after`. Null if nothing was measured.
    #[serde(default)]
    pub measured: Value,
}

impl Variant {
    /// Reads the manifest of a variant; `None` if there is none, or none that can be used.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn read(store: &dyn Store, model: &str, variant: &str) -> Result<Option<Self>, ModelsError> {
        let Ok(path) = StorePath::new(format!("{model}/{variant}/{MANIFEST}")) else { return Ok(None) };
        let object = match store.get(&path, GetOptions::range(0, MAX_BYTES)).await {
            Ok(object) => object,
            Err(StoreError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes: Vec<Bytes> = object.data.try_collect().await?;
        let usable = |found: &Self| {
            found.format == 1
                && found.model == model
                && found.variant == variant
                && found.file.name == format!("{variant}/{VARIANT_WEIGHTS}")
                && is_sha256(&found.file.sha256)
        };
        // One that can't be used is made again.
        Ok(serde_json::from_slice(&bytes.concat()).ok().filter(usable))
    }

    /// Writes it. From then on the variant is there.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn write(&self, store: &dyn Store) -> Result<(), ModelsError> {
        let broken = |reason: String| ModelsError::Manifest { model: self.model.clone(), reason };
        let text = serde_json::to_vec_pretty(self).map_err(|e| broken(e.to_string()))?;
        let data = futures::stream::once(std::future::ready(Ok(Bytes::from(text)))).boxed();
        let path = StorePath::new(format!("{}/{}/{MANIFEST}", self.model, self.variant))?;
        store.put(&path, data, StorePutOptions::default()).await?;
        Ok(())
    }
}
