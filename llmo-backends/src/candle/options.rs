//! How a model is loaded and served.

/// Options of [`CandleModel::load`](super::CandleModel::load).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CandleOptions {
    /// The name callers use. `None`: the file's name without its extension.
    pub id: Option<String>,
    /// sha256 of the file in hexadecimal, if the caller knows it. It is reported, not checked.
    pub digest: Option<String>,
    /// Tokens of prompt and output together. `None`: what the model was trained for, at most 8192.
    pub context_length: Option<u32>,
    /// Most tokens of a prompt that are read between two looks at cancellation, at least 1. Memory for attention grows
    /// with it.
    pub prefill_chunk: u32,
    /// Most requests that wait for their turn; more are refused as overloaded.
    pub max_queue: u32,
}

impl Default for CandleOptions {
    fn default() -> Self {
        Self { id: None, digest: None, context_length: None, prefill_chunk: 128, max_queue: 64 }
    }
}
