//! Kernels of our own for x86-64 with AVX-512 VNNI: matrix products for weights that llama.cpp has no tiled kernel for there, Q4_1
//! and Q8_0, and attention (`attention`).
//!
//! llama.cpp multiplies such weights row by row with dot products, so that a batch of 32 tokens reads and unpacks all weights
//! 32 times. Here they are turned into tiles of 16 rows when a model is loaded (`layout`), and a tile is multiplied with up to
//! 12 tokens at once (`avx512`). Activations are rounded as llama.cpp rounds them (`activations`), so that results differ by the order
//! of sums only.
//!
//! ggml's CPU backend has a list of buffer types with kernels of their own (its AMX and "repack" kernels are such); ours
//! is appended to it (`ffi`), behind those, so that it takes what they leave. Without the processor's instructions, or with
//! `LLMO_TILED_KERNELS=false`, nothing is added and everything is as without this module.
//!
//! Tiles are copies in memory of their own, where llama.cpp would map the file.

mod activations;
mod attention;
mod avx512;
mod ffi;
mod layout;
#[cfg(test)]
mod numbers;
mod operations;
mod product;
mod symbols;
mod transpose;

use std::sync::OnceLock;

/// Adds the kernels to llama.cpp, which runs already and has loaded no model yet. True if they are there.
pub(super) fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| is_wanted() && avx512::is_supported() && ffi::register())
}

/// Is attention with heads of this many values computed here, with keys and values of 16 and of 8 bits?
pub(super) fn computes_attention(head: u32) -> bool {
    install() && head.is_multiple_of(32) && (32..=attention::LONGEST_HEAD).contains(&(head as usize))
}

fn is_wanted() -> bool {
    let setting = std::env::var("LLMO_TILED_KERNELS").unwrap_or_default();
    !matches!(setting.to_ascii_lowercase().as_str(), "false" | "0" | "off" | "no")
}
