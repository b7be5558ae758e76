//! What an engine process is to load.

use std::path::PathBuf;
use std::sync::Arc;

use llmo_backends::sim::{SimModel, SimOptions};
use llmo_config::{Isolation, KvChoice, ModelConfig};
use llmo_core::{Model, ModelError};
use serde::{Deserialize, Serialize};

use super::super::engine;
use super::super::terms::{Made, OnProgress, Outcome, Terms};

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
        /// What was decided about this load.
        terms: LoadTerms,
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
        let terms = LoadTerms::default();
        Self::Gguf { file: file.into(), id: id.into(), digest, config: Box::new(config), terms }
    }

    /// With what was decided about this load.
    #[cfg(feature = "llama-cpp")]
    pub(in super::super) fn on(mut self, decided: Terms) -> Self {
        if let Self::Gguf { terms, .. } = &mut self {
            *terms = LoadTerms(decided);
        }
        self
    }

    /// For starting it again as it was: keys and values are stored as they were found to be best, and nothing is measured, since
    /// others may be in memory by now and requests are waiting.
    pub(super) fn again(mut self, outcome: &Outcome) -> Self {
        if let Self::Gguf { config, terms, .. } = &mut self {
            terms.0.beside_others = true;
            if config.kv_type == KvChoice::Auto {
                config.kv_type = outcome.kv_type;
            }
        }
        self
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
        self.load_watched(Arc::new(|_| ())).map(|made| made.model)
    }

    /// The same; `watch` is told how far it is.
    pub(super) fn load_watched(&self, watch: OnProgress) -> Result<Made, ModelError> {
        match self {
            Self::Gguf { file, id, digest, config, terms } => {
                engine::gguf(file, id, digest.clone(), config, terms.0, watch)
            }
            Self::Sim(options) => Ok(Made::silently(Arc::new(SimModel::new(options.clone())))),
        }
    }
}

/// What whoever has all models in view has decided about a load; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoadTerms(Terms);

#[cfg(all(test, feature = "llama-cpp"))]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_started_again_is_what_it_was_and_measures_nothing() {
        let again = |config: &ModelConfig, kv_type: KvChoice| {
            let spec = Spec::gguf("file", "m", None, config).on(Terms { plan: None, beside_others: false });
            match spec.again(&Outcome { need: None, kv_type }) {
                Spec::Gguf { config, terms, .. } => (config.kv_type, terms.0.beside_others),
                Spec::Sim(_) => panic!(),
            }
        };
        let open = ModelConfig { int8: true, ..ModelConfig::default() };
        assert_eq!(again(&open, KvChoice::Q8_0), (KvChoice::Q8_0, true));
        assert_eq!(again(&open, KvChoice::F16), (KvChoice::F16, true));
        let set = ModelConfig { kv_type: KvChoice::F16, ..ModelConfig::default() };
        assert_eq!(again(&set, KvChoice::Auto), (KvChoice::F16, true));
    }
}
