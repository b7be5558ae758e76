//! candle: models in pure Rust.
//!
//! ```text
//!  GenerateRequest ─► model: prompt ─► tokenizer ─► queue ─► worker: generation ─► decoder
//!        EventStream ◄──────────────── events ◄────────────────┘
//!
//!  EmbedRequest ───► bert: tokenizer ─► queue ─► worker ─► BERT, mean, unit length
//! ```
//!
//! * [`CandleModel`]: text generation from GGUF files (llama, qwen2, qwen3, gemma3).
//! * [`bert`]: sentence embeddings from safetensors.
//!
//! Slower than llama.cpp by several times for most quantisations; it needs no C++ compiler and can't abort the process.

pub mod bert;
mod decoder;
mod events;
mod file;
mod generation;
mod metadata;
mod model;
mod options;
mod prompt;
mod queue;
mod tokenizer;
mod worker;

pub use model::CandleModel;
pub use options::CandleOptions;
