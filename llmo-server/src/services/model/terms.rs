//! What is decided about a load before it begins, and what an engine says when it is over.

use std::sync::Arc;

use llmo_config::KvChoice;
use llmo_core::Model;
use llmo_core::model::LoadProgress;
use serde::{Deserialize, Serialize};

use super::budget::Need;

/// Is told how far a load is.
pub(super) type OnProgress = Arc<dyn Fn(LoadProgress) + Send + Sync>;

/// What whoever has all models in view decides about a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Terms {
    /// How many sequences there are and how long they are: what was accounted for is what is used.
    #[cfg(feature = "llama-cpp")]
    pub(super) plan: Option<llmo_backends::llama_cpp::Plan>,
    /// Other models are in memory: nothing is measured beside them.
    pub(super) beside_others: bool,
}

/// What an engine says of what it has loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// What it takes; `None` if the engine doesn't tell.
    pub(super) need: Option<Need>,
    /// How keys and values are stored, as it was found to be best.
    pub(super) kv_type: KvChoice,
}

/// A loaded model.
pub(super) struct Made {
    pub(super) model: Arc<dyn Model>,
    pub(super) outcome: Outcome,
}

impl Made {
    /// By an engine that tells nothing.
    pub(super) fn silently(model: Arc<dyn Model>) -> Self {
        Self { model, outcome: Outcome::default() }
    }
}

#[cfg(feature = "llama-cpp")]
impl From<llmo_backends::llama_cpp::LlamaCpp> for Made {
    fn from(model: llmo_backends::llama_cpp::LlamaCpp) -> Self {
        let takes = model.footprint();
        let kv_type = match takes.kv_type {
            llmo_backends::llama_cpp::KvType::Q8_0 => KvChoice::Q8_0,
            llmo_backends::llama_cpp::KvType::F16 => KvChoice::F16,
            _ => KvChoice::Auto,
        };
        let need = Need { weights: takes.weights, own: takes.kv_cache.saturating_add(takes.buffers) };
        Self { model: Arc::new(model), outcome: Outcome { need: Some(need), kv_type } }
    }
}
