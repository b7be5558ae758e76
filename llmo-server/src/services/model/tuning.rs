//! `llmo tune`: measuring a model as this configuration would serve it.

use std::path::PathBuf;
use std::sync::Arc;

use llmo_backends::llama_cpp::LlamaCppOptions;
use llmo_config::Config;
use llmo_core::ModelError;
use llmo_store::catalogue::WeightsFormat;
use llmo_store::pull::Silent;

use super::name::{Wanted, wanted};
use super::{engine, int8};
use crate::wiring::model_source;

/// A model and the options it is served with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tunable {
    /// Its name.
    pub id: String,
    /// Its weights: those of the 8-bit variant where the configuration wants that.
    pub file: PathBuf,
    /// sha256 of the weights in hexadecimal.
    pub digest: String,
    /// What the configuration says; what it leaves open is `None`.
    pub options: LlamaCppOptions,
}

impl Tunable {
    /// Finds an installed model by name; the empty name is the default model (`MODEL_PATH`, if that is set).
    ///
    /// # Errors
    /// [`ModelError::NotFound`]; [`ModelError::Unsupported`] for what llama.cpp does not run; if its 8-bit weights are wanted
    /// and can't be made.
    pub async fn find(config: &Config, name: &str) -> Result<Self, ModelError> {
        let internal = |error: String| ModelError::Internal(error);
        let source = model_source(&config.store, false).await.map_err(|e| internal(e.to_string()))?;
        let all = wanted(&config.model);
        let wanted = if name.is_empty() { all.into_iter().next() } else { all.into_iter().find(|w| w.id == name) };
        let Wanted { id, file } = wanted.unwrap_or_else(|| Wanted { id: name.to_owned(), file: None });
        let (id, file, digest) = if let Some(file) = file {
            let path = file.clone();
            let digest = tokio::task::spawn_blocking(move || llmo_store::file_sha256(&path)).await;
            let digest = digest.map_err(|e| internal(e.to_string()))?;
            let digest = digest.map_err(|e| internal(format!("cannot read MODEL_PATH={}: {e}", file.display())))?;
            let outcome = int8::as_configured_file(file, &id, digest, &source, &config.model, &Silent).await;
            let (file, digest) = outcome.map_err(|e| internal(e.to_string()))?;
            (id, file, digest)
        } else {
            let model = source.ensure(&id, Arc::new(Silent)).await.map_err(|e| internal(e.to_string()))?;
            if model.manifest.weights != WeightsFormat::Gguf {
                let what = "being tuned: only GGUF models on llama.cpp are".to_owned();
                return Err(ModelError::Unsupported { model: id, what });
            }
            let model = int8::as_configured(model, &source, &config.model, &Silent).await;
            let model = model.map_err(|e| internal(e.to_string()))?;
            let digest = model.manifest.weights_file().map(|file| file.sha256.clone()).unwrap_or_default();
            (model.manifest.id.clone(), model.weights, digest)
        };
        let options = engine::llama_cpp_options(&id, Some(digest.clone()), &config.model);
        Ok(Self { id, file, digest, options })
    }
}
