//! GGUF models on llama.cpp, with continuous batching.
//!
//! ```text
//!  file ─► weights (header checked in Rust) ─► load ─► LlamaCpp
//!                                                        │ generate
//!            prompt (template, tokens) ◄─────────────────┤
//!                 │                                      │
//!                 ▼                                      ▼
//!               Job ─────► engine (one thread) ──────► Events
//!                             │ forward
//!                             ▼
//!                          context (llama.cpp)
//! ```
//!
//! * [`options`]: what can be chosen. `sizing`: what follows from it.
//! * `weights`, `load`: a file becomes a model. `adapter`: LoRA over it. `runtime`: llama.cpp's process-wide state.
//! * [`tune`]: which options are fast here. `kernels`: which of llama.cpp's kernels compute.
//! * [`quantize`]: weights stored in another way.
//! * `vocabulary`, `prompt`: text to tokens and back. `held`: grammars and calls of functions.
//! * `engine`: the scheduler; it knows llama.cpp only as `forward`, which `context` implements. `sequence_state`: what is saved
//!   of a sequence.
//!
//! llama.cpp aborts the process on some faults. What reaches it is checked: headers, token ids, positions, batch sizes.
//! The rest is a matter of running the service in a process of its own.

mod adapter;
mod context;
mod cores;
mod engine;
mod forward;
mod held;
mod kernels;
mod load;
mod memory;
mod model;
pub mod options;
mod prefix_store;
mod prompt;
pub mod quantize;
mod runtime;
mod sequence_state;
mod sizing;
#[cfg(target_arch = "x86_64")]
mod tiles;
pub mod tune;
mod vocabulary;
mod weights;

pub use kernels::Kernels;
pub use model::{Footprint, LlamaCpp, Watch};
pub use options::{KvType, LlamaCppOptions, LoraOptions, Speculation, TuneMode, Tuning};
pub use prefix_store::PrefixStore;
pub use sizing::{HeaderSizes, Plan, draft_bytes, plan};
pub use weights::check;

/// What tests of other modules need of a real vocabulary.
#[cfg(test)]
pub(crate) struct TestVocabulary;

#[cfg(test)]
impl TestVocabulary {
    /// The weights of SmolLM2-135M-Instruct, where the tests' models are.
    pub(crate) fn file() -> Option<std::path::PathBuf> {
        let models = std::env::var_os("LLMO_TEST_MODELS")
            .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../models").into(), std::path::PathBuf::from);
        Some(models.join("smollm2-135m/model.gguf")).filter(|path| path.is_file())
    }

    pub(crate) fn backend() -> &'static llama_cpp_2::llama_backend::LlamaBackend {
        runtime::backend().unwrap()
    }

    pub(crate) fn table(
        model: &std::sync::Arc<llama_cpp_2::model::LlamaModel>,
    ) -> std::sync::Arc<impl crate::sampler::TokenTexts + use<>> {
        std::sync::Arc::clone(vocabulary::Vocabulary::new(std::sync::Arc::clone(model)).table())
    }
}
