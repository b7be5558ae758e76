//! What a model is and can do.

use serde::{Deserialize, Serialize};

/// Identity and abilities of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The name that callers use, e.g. `smollm2-135m`.
    pub id: String,
    /// Architecture family as GGUF names it: `llama`, `qwen2`, `gemma`, `bert`, …
    pub family: String,
    /// Longest prompt plus output, in tokens.
    pub context_length: u32,
    /// Number of tokens in the vocabulary; 0 if unknown.
    pub vocab_size: u32,
    /// How the weights are stored.
    pub quantisation: Quantisation,
    /// Number of weights; 0 if unknown.
    pub parameters: u64,
    /// Size of the weights in memory, in bytes; 0 if unknown.
    pub size_bytes: u64,
    /// The backend that runs it: `llama.cpp`, `candle`, `remote`, `sim`.
    pub backend: String,
    /// sha256 of the weights in hexadecimal, where known. Part of every cache key.
    pub digest: Option<String>,
    /// Unix time in seconds at which the model became available.
    pub created: u64,
    /// What it can do.
    pub capabilities: Capabilities,
}

impl ModelInfo {
    /// A model of which only the name and the backend are known yet; set the other fields as they become known.
    #[must_use]
    pub fn new(id: impl Into<String>, backend: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            family: String::new(),
            context_length: 0,
            vocab_size: 0,
            quantisation: Quantisation::Unknown,
            parameters: 0,
            size_bytes: 0,
            backend: backend.into(),
            digest: None,
            created: 0,
            capabilities: Capabilities::default(),
        }
    }
}

/// What a model can do. All false by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// [`generate`](super::Model::generate) works.
    pub generate: bool,
    /// The model has a chat template, or its upstream takes messages.
    pub chat: bool,
    /// [`embed`](super::Model::embed) works.
    pub embed: bool,
    /// `tokenize` and `detokenize` work.
    pub tokenize: bool,
    /// Log probabilities of generated tokens can be had.
    pub logprobs: bool,
    /// Deltas carry token ids.
    pub token_ids: bool,
    /// Constraints on the output are enforced.
    #[serde(default)]
    pub constraints: bool,
    /// Functions can be offered to the model: it was taught to call them, or is held to a form of calls.
    #[serde(default)]
    pub tools: bool,
    /// [`rerank`](super::Model::rerank) works.
    #[serde(default)]
    pub rerank: bool,
}

/// How weights are stored. The name is GGUF's (`Q4_1`, `Q8_0`, `F16`, …).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Quantisation {
    /// Not known.
    Unknown,
    /// By its usual name.
    #[serde(untagged)]
    Named(String),
}

impl std::fmt::Display for Quantisation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Named(name) => f.write_str(name),
        }
    }
}
