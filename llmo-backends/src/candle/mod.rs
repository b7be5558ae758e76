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
//!
//! candle computes on thread pools of its own, one of each a process, sized when they are first used by the environment
//! variables `CANDLE_NUM_THREADS` and `RAYON_NUM_THREADS` (default: the physical cores). The threads of the first wait for
//! each other by spinning: where other work takes the same cores, fewer threads are faster. SmolLM2 on two cores with
//! four times as much to do decoded 4 tokens a second with two threads and 28 with one.

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
