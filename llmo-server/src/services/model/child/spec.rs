//! What an engine process is to load.

use std::path::PathBuf;
use std::sync::Arc;

use llmo_backends::sim::{SimModel, SimOptions};
use llmo_config::{Isolation, ModelConfig};
use llmo_core::{Model, ModelError};
use serde::{Deserialize, Serialize};

use super::super::engine;

/// What an engine process is to load.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Spec {
    /// A GGUF file, with the engine that the configuration says.
    Gguf {
        /// The file.
        file: PathBuf,
        /// The name callers use.
        id: String,
        /// sha256 of the file in hexadecimal, if it is known.
        digest: Option<String>,
        /// How it is served.
        config: Box<ModelConfig>,
    },
    /// The simulator.
    Sim(SimOptions),
}

impl Spec {
    /// A GGUF file.
    #[must_use]
    pub fn gguf(file: impl Into<PathBuf>, id: impl Into<String>, digest: Option<String>, config: &ModelConfig) -> Self {
        // In the engine's own process there is no further one.
        let config = ModelConfig { isolation: Isolation::None, ..config.clone() };
        Self::Gguf { file: file.into(), id: id.into(), digest, config: Box::new(config) }
    }

    /// The model's name.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Gguf { id, .. } => id,
            Self::Sim(options) => &options.id,
        }
    }

    /// Loads it into this process. Blocking.
    ///
    /// # Errors
    /// The engine's own.
    pub fn load(&self) -> Result<Arc<dyn Model>, ModelError> {
        match self {
            Self::Gguf { file, id, digest, config } => engine::gguf(file, id, digest.clone(), config),
            Self::Sim(options) => Ok(Arc::new(SimModel::new(options.clone()))),
        }
    }
}
