//! `/v1/models`.

use llmo_core::ModelInfo;
use serde_json::{Value, json};

/// The list of models.
#[must_use]
pub fn list(models: &[ModelInfo]) -> Value {
    json!({"object": "list", "data": models.iter().map(one).collect::<Vec<_>>()})
}

/// One model: OpenAI's fields, vLLM's `max_model_len`, and what else is known under `llmo`.
#[must_use]
pub fn one(model: &ModelInfo) -> Value {
    json!({
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": "llmo",
        "max_model_len": model.context_length,
        "llmo": {
            "family": model.family,
            "backend": model.backend,
            "quantisation": model.quantisation.to_string(),
            "parameters": model.parameters,
            "size_bytes": model.size_bytes,
            "vocab_size": model.vocab_size,
            "digest": model.digest,
            "capabilities": model.capabilities,
        },
    })
}
