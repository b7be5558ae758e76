//! Engines in processes of their own, and what is left of the service when they die.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // Clippy knows tests, but not what they call.

#[path = "../support/mod.rs"]
mod support;

mod blame;
mod deaths;
mod processes;
mod streams;
mod subject;

#[cfg(feature = "llama-cpp")]
mod real;
