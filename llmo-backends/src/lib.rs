//! Implementations of [`llmo_core::Model`], each behind a feature of its own name.

#[cfg(feature = "candle")]
pub mod candle;
#[cfg(any(feature = "candle", feature = "llama-cpp"))]
mod chat;
#[cfg(feature = "constraints")]
mod constraint;
#[cfg(feature = "llama-cpp")]
pub mod llama_cpp;
#[cfg(any(feature = "candle", feature = "llama-cpp"))]
mod logprobs;
#[cfg(feature = "remote")]
pub mod remote;
#[cfg(feature = "sampling")]
pub mod sampler;
#[cfg(feature = "sim")]
pub mod sim;
