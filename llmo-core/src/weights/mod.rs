//! Headers of weight files, read and checked in Rust before any engine sees the file.
//!
//! Engines trust their files: some abort the process, some read past the end, some allocate what a count says. What
//! passes here has consistent counts, known types, and tensors that lie inside the file without overlapping. The readers
//! take bytes and give values; they do no I/O, never panic, and allocate at most a small multiple of the bytes given.
//!
//! * [`gguf`]: llama.cpp's format. [`ggml_type`]: how its tensors are stored.
//! * [`safetensors`]: Hugging Face's format.

mod error;
pub mod ggml_type;
pub mod gguf;
mod layout;
pub mod safetensors;

pub use error::WeightsError;
pub use ggml_type::GgmlType;
pub use gguf::GgufHeader;
pub use safetensors::SafetensorsHeader;
