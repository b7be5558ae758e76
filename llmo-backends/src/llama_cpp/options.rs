//! How a model is loaded and served.

use std::time::Duration;

/// Options of [`LlamaCpp::load`](super::LlamaCpp::load). The defaults serve a small model on a laptop.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LlamaCppOptions {
    /// The name callers use. `None`: the file's name without its extension.
    pub id: Option<String>,
    /// sha256 of the file in hexadecimal, if the caller knows it. It is reported, not checked.
    pub digest: Option<String>,
    /// Tokens that each sequence holds, prompt and output together. `None`: what the model was trained for, at most
    /// 8192, and less if the KV cache of all slots would exceed [`kv_budget_bytes`](Self::kv_budget_bytes).
    pub context_length: Option<u32>,
    /// Sequences that are decoded at once, 1 to 256. Each has its own KV cache.
    pub slots: u32,
    /// Threads that compute. `None`: one for each physical core that this process may use.
    pub threads: Option<u32>,
    /// Most tokens of prompts that are read between two looks at cancellations and running streams, 16 to 4096.
    pub prefill_chunk: u32,
    /// How keys and values are stored.
    pub kv_type: KvType,
    /// Fused attention. An 8-bit cache needs it.
    pub flash_attention: bool,
    /// Most memory for the KV cache when `context_length` is `None`, in bytes.
    pub kv_budget_bytes: u64,
    /// Most requests that wait for a slot; more are refused as overloaded.
    pub max_queue: u32,
    /// Most prompt tokens that wait for a slot. A single request is always admitted to an empty queue.
    pub max_queued_tokens: u64,
    /// How long a slot is held for a reader that takes nothing. Then its stream ends with an error.
    pub reader_patience: Duration,
}

impl Default for LlamaCppOptions {
    fn default() -> Self {
        Self {
            id: None,
            digest: None,
            context_length: None,
            slots: 4,
            threads: None,
            prefill_chunk: 128,
            kv_type: KvType::F16,
            flash_attention: true,
            kv_budget_bytes: 1 << 30,
            max_queue: 64,
            max_queued_tokens: 65_536,
            reader_patience: Duration::from_secs(30),
        }
    }
}

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KvType {
    /// 16-bit floats.
    #[default]
    F16,
    /// 8-bit integers with a scale for each 32: half the memory and traffic. Needs flash attention.
    Q8_0,
}

impl KvType {
    /// Bytes that `values` keys or values take.
    #[must_use]
    pub fn bytes(self, values: u64) -> u64 {
        match self {
            Self::F16 => values.saturating_mul(2),
            // 32 bytes and a 16-bit scale for each 32 values.
            Self::Q8_0 => values.saturating_mul(34) / 32,
        }
    }
}
