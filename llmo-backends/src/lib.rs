//! Implementations of [`llmo_core::Model`], each behind a feature of its own name.

#[cfg(any(feature = "candle", feature = "llama-cpp"))]
mod logprobs;
#[cfg(any(feature = "candle", feature = "llama-cpp"))]
mod sampler;
#[cfg(feature = "remote")]
pub mod remote;
#[cfg(feature = "sim")]
pub mod sim;
