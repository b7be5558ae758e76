//! The other factor: rows of `f32`, rounded to 8 bits a value, as ggml's `Q8_1` and `Q8_0` do it.

use super::layout::{BLOCK, Kind};

/// Memory of some rounded rows: their quants, then a scale and a correction for each block.
///
/// The correction is what the block's sum adds to every product: for Q4_1 `d * sum` (an `f32`, to be multiplied by a row's
/// `m`), for Q8_0 `-128 * sum` (an `i32`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Activations {
    pub(super) quants: *mut i8,
    pub(super) scales: *mut f32,
    pub(super) corrections: *mut f32,
    /// Blocks of a row.
    pub(super) blocks: usize,
}

impl Activations {
    /// Bytes for `rows` rows of `blocks` blocks.
    pub(super) const fn bytes(rows: usize, blocks: usize) -> usize {
        rows * blocks * (BLOCK + 8)
    }

    /// Lays them out in `memory`, which is aligned to 4 bytes.
    ///
    /// # Safety
    /// `memory` has [`Self::bytes`] bytes.
    #[allow(unsafe_code, clippy::cast_ptr_alignment)]
    pub(super) unsafe fn at(memory: *mut u8, rows: usize, blocks: usize) -> Self {
        // SAFETY: all three parts lie in what the caller gives; quants take multiples of 32 bytes.
        unsafe {
            let scales = memory.add(rows * blocks * BLOCK).cast::<f32>();
            Self { quants: memory.cast(), scales, corrections: scales.add(rows * blocks), blocks }
        }
    }
}

/// Rounds one block of 32 values. The scale is stored as `f16` there, so it is rounded to one here as well: the products are
/// those of llama.cpp up to the order of sums.
///
/// # Safety
/// `values` has 32 values, `block` is within the memory, and the processor has AVX-512 F, BW and VL.
#[allow(unsafe_code)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
pub(super) unsafe fn round(kind: Kind, values: *const f32, to: Activations, block: usize) {
    use std::arch::x86_64::{
        _MM_FROUND_TO_NEAREST_INT, _mm_cvtph_ps, _mm_cvtps_ph, _mm_cvtss_f32, _mm_set_ss, _mm_storeu_si128,
        _mm512_abs_ps, _mm512_add_epi32, _mm512_cvtepi32_epi8, _mm512_cvtps_epi32, _mm512_loadu_ps, _mm512_max_ps,
        _mm512_mul_ps, _mm512_reduce_add_epi32, _mm512_reduce_max_ps, _mm512_set1_ps,
    };
    let half = |value: f32| _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm_set_ss(value))));
    // SAFETY: the caller's word.
    unsafe {
        let (low, high) = (_mm512_loadu_ps(values), _mm512_loadu_ps(values.add(16)));
        let largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
        let scale = largest / 127.0;
        let inverse = _mm512_set1_ps(if largest == 0.0 { 0.0 } else { 127.0 / largest });
        let low = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
        let high = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
        let sum = _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
        let quants = to.quants.add(block * BLOCK);
        _mm_storeu_si128(quants.cast(), _mm512_cvtepi32_epi8(low));
        _mm_storeu_si128(quants.add(16).cast(), _mm512_cvtepi32_epi8(high));
        *to.scales.add(block) = half(scale);
        *to.corrections.add(block) = match kind {
            Kind::Q4_1 => half(scale * sum as f32),
            Kind::Q8_0 => f32::from_bits((-128 * sum).cast_unsigned()),
        };
    }
}
