//! OpenAI's dialect, with the extensions that gateway and model services use between them.
//!
//! * [`chat`], [`completions`], [`embeddings`], [`models`]: requests and answers of `/v1/…`.
//! * [`rerank`]: `/v1/rerank`. `model_fields`: which adapter, and how long the model stays.
//! * [`error`]: error bodies. [`tokens`]: `/tokenize` and `/detokenize`, as llama-server has them.
//! * `format`, `tools`: structured output, and functions that the model may call.
//! * `wire`, `sampling`, `refused`, `envelope`, `usage`, `logprobs`: what chat and completions share.
//!
//! Fields that we don't know are ignored, as clients send many; fields that would change the output and that we
//! don't have are refused by name, so that nobody gets unconstrained output for a constraint.

pub mod chat;
pub mod completions;
pub mod embeddings;
mod envelope;
pub mod error;
pub(crate) mod format;
mod logprobs;
mod model_fields;
pub mod models;
mod refused;
mod reply;
pub mod rerank;
mod sampling;
pub mod tokens;
mod tools;
mod usage;
mod wire;

pub use reply::Reply;
pub(crate) use usage::total;
