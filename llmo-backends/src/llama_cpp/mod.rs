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
//! * `kernels`: which of llama.cpp's kernels compute.
//! * `vocabulary`, `prompt`: text to tokens and back. `held`: grammars and calls of functions.
//! * `engine`: the scheduler; it knows llama.cpp only as `forward`, which `context` implements.
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
mod model;
pub mod options;
mod prompt;
mod runtime;
mod sizing;
mod vocabulary;
mod weights;

pub use kernels::Kernels;
pub use model::LlamaCpp;
pub use options::{KvType, LlamaCppOptions, LoraOptions, Speculation, TuneMode, Tuning};
pub use weights::check;
