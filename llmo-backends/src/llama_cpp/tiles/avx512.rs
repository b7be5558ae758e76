//! Products of a tile of weights with up to [`COLUMNS`] rows of activations, with AVX-512 and its VNNI: `vpdpbusd` multiplies
//! 64 unsigned by signed bytes and adds them up four by four.
//!
//! A block of a tile takes 8 `vpdpbusd` and 4 operations on `f32` a column, for 512 products; weights are unpacked once for all
//! columns. Each element of the result is summed in the same order whatever the number of columns, so a token's values do
//! not depend on what else is in the batch.

use std::arch::x86_64::{
    __m512, __m512i, _mm256_loadu_si256, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
};

use super::activations::Activations;
use super::layout::{BLOCK, Kind, ROWS};

/// Most columns at once: their sums, the unpacked weights and what is between fit into 32 registers.
pub(super) const COLUMNS: usize = 12;

/// Has this processor what the kernels want?
pub(super) fn is_supported() -> bool {
    let has = std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512bw");
    let has = has && std::arch::is_x86_feature_detected!("avx512vl") && std::arch::is_x86_feature_detected!("f16c");
    has && std::arch::is_x86_feature_detected!("avx512vnni")
}

/// Multiplies a tile with `columns` rows of activations from `first` on. `results[i]` is where the 16 results of column `i` go.
///
/// # Safety
/// [`is_supported`]; the tile is one of `activations.blocks` blocks; the rows exist and are rounded for `kind`; `results` has
/// `columns` pointers, at most [`COLUMNS`], to 16 values each.
#[allow(unsafe_code)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
pub(super) unsafe fn multiply(
    kind: Kind,
    tile: *const u8,
    activations: Activations,
    first: usize,
    results: &[*mut f32],
) {
    macro_rules! for_columns {
        ($($columns:literal)*) => {
            match (kind, results.len()) {
                // SAFETY: the caller's word.
                $((Kind::Q4_1, $columns) => unsafe { q4_1::<$columns>(tile, activations, first, results) },
                (Kind::Q8_0, $columns) => unsafe { q8_0::<$columns>(tile, activations, first, results) },)*
                _ => {}
            }
        };
    }
    for_columns!(1 2 3 4 5 6 7 8 9 10 11 12);
}

/// Four values of the activations, sixteen times.
#[allow(unsafe_code, clippy::cast_ptr_alignment, clippy::inline_always)]
#[inline(always)]
unsafe fn four(values: *const i8) -> __m512i {
    // SAFETY: the caller's word: there are four.
    unsafe { _mm512_set1_epi32(values.cast::<i32>().read_unaligned()) }
}

#[allow(unsafe_code)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
unsafe fn q4_1<const N: usize>(tile: *const u8, activations: Activations, first: usize, results: &[*mut f32]) {
    let blocks = activations.blocks;
    let nibble = _mm512_set1_epi8(0x0f);
    let mut sums: [__m512; N] = [_mm512_setzero_ps(); N];
    // SAFETY: the caller's word; all offsets are below the number of blocks.
    unsafe {
        let scales = tile.add(blocks * ROWS * BLOCK / 2);
        for block in 0..blocks {
            let quants = tile.add(block * ROWS * BLOCK / 2);
            let mut low = [_mm512_setzero_si512(); 4];
            let mut high = [_mm512_setzero_si512(); 4];
            for vector in 0..4 {
                let both = _mm512_loadu_si512(quants.add(vector * 64).cast());
                low[vector] = _mm512_and_si512(both, nibble);
                high[vector] = _mm512_and_si512(_mm512_srli_epi16::<4>(both), nibble);
            }
            let scales = scales.add(block * ROWS * 4);
            let d = _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast()));
            let m = _mm512_cvtph_ps(_mm256_loadu_si256(scales.add(ROWS * 2).cast()));
            for (column, sum) in sums.iter_mut().enumerate() {
                let index = (first + column) * blocks + block;
                let values = activations.quants.add(index * BLOCK);
                let mut products = _mm512_setzero_si512();
                for (vector, quants) in low.iter().chain(&high).enumerate() {
                    products = _mm512_dpbusd_epi32(products, *quants, four(values.add(vector * 4)));
                }
                let scale = _mm512_mul_ps(d, _mm512_set1_ps(*activations.scales.add(index)));
                *sum = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(products), *sum);
                *sum = _mm512_fmadd_ps(m, _mm512_set1_ps(*activations.corrections.add(index)), *sum);
            }
        }
        for (sum, result) in sums.iter().zip(results) {
            _mm512_storeu_ps(*result, *sum);
        }
    }
}

#[allow(unsafe_code)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
unsafe fn q8_0<const N: usize>(tile: *const u8, activations: Activations, first: usize, results: &[*mut f32]) {
    let blocks = activations.blocks;
    let mut sums: [__m512; N] = [_mm512_setzero_ps(); N];
    // SAFETY: the caller's word; all offsets are below the number of blocks.
    unsafe {
        let scales = tile.add(blocks * ROWS * BLOCK);
        for block in 0..blocks {
            let quants = tile.add(block * ROWS * BLOCK);
            let mut weights = [_mm512_setzero_si512(); 8];
            for (vector, weights) in weights.iter_mut().enumerate() {
                *weights = _mm512_loadu_si512(quants.add(vector * 64).cast());
            }
            let d = _mm512_cvtph_ps(_mm256_loadu_si256(scales.add(block * ROWS * 2).cast()));
            for (column, sum) in sums.iter_mut().enumerate() {
                let index = (first + column) * blocks + block;
                let values = activations.quants.add(index * BLOCK);
                // Takes back the 128 that was added to each weight.
                let mut products = four(activations.corrections.add(index).cast());
                for (vector, weights) in weights.iter().enumerate() {
                    products = _mm512_dpbusd_epi32(products, *weights, four(values.add(vector * 4)));
                }
                let scale = _mm512_mul_ps(d, _mm512_set1_ps(*activations.scales.add(index)));
                *sum = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(products), *sum);
            }
        }
        for (sum, result) in sums.iter().zip(results) {
            _mm512_storeu_ps(*result, *sum);
        }
    }
}
