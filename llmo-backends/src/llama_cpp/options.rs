//! How a model is loaded and served.
//!
//! What is `None` is chosen: by the tuner if [`LlamaCppOptions::tuning`] lets it, else by the defaults named here. What is
//! set stays as it is set.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::prefix_store::PrefixStore;
use super::sizing::Plan;

/// Options of [`LlamaCpp::load`](super::LlamaCpp::load). The defaults serve a small model on a laptop.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LlamaCppOptions {
    /// The name callers use. `None`: the file's name without its extension.
    pub id: Option<String>,
    /// sha256 of the file in hexadecimal, if the caller knows it. It is reported, not checked.
    pub digest: Option<String>,
    /// Tokens that each sequence holds, prompt and output together. `None`: what the model was trained for, at most
    /// 8192, and less if the KV cache of all slots would exceed [`kv_budget_bytes`](Self::kv_budget_bytes). A cache for all
    /// of them is resident from the start.
    pub context_length: Option<u32>,
    /// Sequences that are decoded at once, 1 to 256. Each has its own KV cache. 0: up to 32, as many as the budget pays for.
    pub slots: u32,
    /// Threads that compute. `None`: one for each physical core that this process may use.
    pub threads: Option<u32>,
    /// Threads that read prompts. `None`: as many as [`threads`](Self::threads).
    pub threads_batch: Option<u32>,
    /// Most tokens of prompts that are read between two looks at cancellations and running streams, 16 to 4096. `None`: 128.
    pub prefill_chunk: Option<u32>,
    /// Most tokens that llama.cpp computes at once; longer runs are split. `None`: a whole run.
    pub micro_batch: Option<u32>,
    /// How keys and values are stored. `None`: 16-bit floats.
    pub kv_type: Option<KvType>,
    /// Fused attention. `None`: yes. An 8-bit cache needs it.
    pub flash_attention: Option<bool>,
    /// One KV cache for all sequences instead of one each: llama-server's default. Three times slower with 32 sequences,
    /// and what a stream computes depends on the others in its last bits. For comparison.
    pub kv_unified: bool,
    /// How the options that are `None` are chosen.
    pub tuning: Tuning,
    /// Most memory for the KV cache as far as its size is chosen and not set, in bytes. 0: 15 % of the memory that is free
    /// when the model is loaded (control groups counted), at most 4 GiB.
    pub kv_budget_bytes: u64,
    /// How many sequences there are and how long they are, decided beforehand by [`plan`](super::plan): whoever accounts for
    /// memory then gets what was accounted for, however much is free by now. What is asked for is in `slots` and
    /// `context_length` all the same.
    pub plan: Option<Plan>,
    /// A LoRA adapter over the model's weights, for all requests.
    pub adapter: Option<LoraOptions>,
    /// Most requests that wait for a slot; more are refused as overloaded.
    pub max_queue: u32,
    /// Most prompt tokens that wait for a slot. A single request is always admitted to an empty queue.
    pub max_queued_tokens: u64,
    /// Guess tokens ahead from what a stream holds already, where that is faster.
    pub speculation: Speculation,
    /// A GGUF file of a smaller model with the very same tokens that guesses instead, where tokens are guessed at all. One with
    /// other tokens is not used. Its weights, and a KV cache of two sequences, are in memory too.
    pub draft: Option<PathBuf>,
    /// How long a slot is held for a reader that takes nothing. Then its stream ends with an error.
    pub reader_patience: Duration,
    /// Reuse of the beginning of a prompt never changes the output. Where the kernels round differently for short runs
    /// (16-bit KV cache), that costs reading up to 64 tokens of each prompt, and of a conversation what was generated.
    /// `false`: everything is reused, and an output may differ from that of the same request made first.
    pub exact_reuse: bool,
    /// Keeps beginnings of prompts that come again in a store. Needs [`digest`](Self::digest).
    pub prefix_store: Option<PrefixStore>,
}

/// A LoRA adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraOptions {
    /// A GGUF file, made for the model's own architecture and shape.
    pub path: PathBuf,
    /// How strongly it works: 0.0 not at all, 1.0 as trained.
    pub scale: f32,
}

impl Default for LlamaCppOptions {
    fn default() -> Self {
        Self {
            id: None,
            digest: None,
            context_length: None,
            slots: 0,
            threads: None,
            threads_batch: None,
            prefill_chunk: None,
            micro_batch: None,
            kv_type: None,
            flash_attention: None,
            kv_unified: false,
            tuning: Tuning::default(),
            kv_budget_bytes: 0,
            plan: None,
            adapter: None,
            max_queue: 64,
            max_queued_tokens: 65_536,
            speculation: Speculation::default(),
            draft: None,
            reader_patience: Duration::from_secs(30),
            exact_reuse: true,
            prefix_store: None,
        }
    }
}

/// Whether tokens are guessed ahead: what followed the last time after the same tokens of the prompt or the output.
///
/// Guesses are run together with the token before them. Where llmo's own kernels compute, a token's logits are the same however
/// many run at once, and so is the output. llama.cpp's attention rounds runs of one token and of several differently: there a
/// greedy output may become another where two tokens are about equally likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Speculation {
    /// Never.
    Off,
    /// Where it leaves the output as it is, and is measured to be faster: few streams, and text that repeats itself.
    #[default]
    Auto,
    /// Wherever it is measured to be faster.
    On,
    /// So many tokens in each step of few streams, whatever it costs. For tests and measurements.
    Always(u32),
}

impl Speculation {
    /// What is done where the logits do not depend on how many tokens run at once (`steady`), or do.
    pub(super) fn resolved(self, steady: bool) -> Self {
        match self {
            Self::Auto if steady => Self::On,
            Self::Auto => Self::Off,
            other => other,
        }
    }
}

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KvType {
    /// 16-bit floats.
    #[default]
    F16,
    /// 8-bit integers with a scale for each 32: half the memory and traffic. Needs flash attention.
    Q8_0,
}

impl std::fmt::Display for KvType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        })
    }
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

/// How the options that are `None` are chosen. The default chooses nothing: the defaults of the options hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tuning {
    /// Whether to measure, and how long.
    pub mode: TuneMode,
    /// Where results are remembered, for this machine and the model of this [`digest`](LlamaCppOptions::digest). Without a
    /// directory or a digest nothing is measured.
    pub directory: Option<PathBuf>,
    /// Keep keys and values in 8 bits, to save memory rather than time, where perplexity was measured and moves little enough;
    /// measured when the model is loaded, if nothing is remembered of it, whatever the mode. Without a measurement they stay in
    /// 16 bits; [`LlamaCppOptions::kv_type`] has them in 8 bits in any case.
    pub int8_kv: bool,
    /// Other models are in memory, in whatever process: nothing is measured, since that would be wrong and would take their
    /// processors; what is remembered is used.
    pub beside_others: bool,
}

/// Whether to measure which options are fast, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TuneMode {
    /// Nothing is measured, and nothing that was remembered is used.
    #[default]
    Off,
    /// A few seconds when a model is loaded for the first time on this machine.
    Auto,
    /// A minute or so when a model is loaded for the first time on this machine.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_itself_nothing_is_guessed_where_that_may_change_the_output() {
        assert_eq!(Speculation::Auto.resolved(true), Speculation::On);
        assert_eq!(Speculation::Auto.resolved(false), Speculation::Off);
        for told in [Speculation::Off, Speculation::On, Speculation::Always(3)] {
            assert_eq!((told.resolved(true), told.resolved(false)), (told, told));
        }
    }
}
