//! The llama.cpp backend with real weights.
#![cfg(feature = "llama-cpp")]
// Clippy takes the functions that tests share for something else than tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "llama_cpp/memory_store.rs"]
mod memory_store;
#[path = "llama_cpp/support.rs"]
mod support;

#[path = "llama_cpp/conformance.rs"]
mod conformance;
#[path = "llama_cpp/constraints.rs"]
mod constraints;
#[path = "llama_cpp/generation.rs"]
mod generation;
#[path = "llama_cpp/golden.rs"]
mod golden;
#[path = "llama_cpp/limits.rs"]
mod limits;
#[path = "llama_cpp/loading.rs"]
mod loading;
#[path = "llama_cpp/prefix.rs"]
mod prefix;
#[path = "llama_cpp/prompts.rs"]
mod prompts;
#[path = "llama_cpp/quantizing.rs"]
mod quantizing;
#[path = "llama_cpp/scheduling.rs"]
mod scheduling;
#[path = "llama_cpp/speculation.rs"]
mod speculation;
#[path = "llama_cpp/tools.rs"]
mod tools;
#[path = "llama_cpp/tuning.rs"]
mod tuning;
