//! Sixteen times sixteen values, turned within registers.

use std::arch::x86_64::{
    __m512, _mm512_castpd_ps, _mm512_castps_pd, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_unpackhi_pd,
    _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};

/// Lines become columns.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(lines: [__m512; 16]) -> [__m512; 16] {
    // Pairs of lines, then fours: the four 128-bit lanes of `fours[4 * i + j]` hold columns j, 4 + j, 8 + j and 12 + j of
    // lines 4i to 4i + 3.
    let mut fours = [_mm512_setzero_ps(); 16];
    for i in 0..4 {
        let [a, b, c, d] = [lines[4 * i], lines[4 * i + 1], lines[4 * i + 2], lines[4 * i + 3]];
        let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        let (ab_low, ab_high) = (_mm512_castps_pd(ab_low), _mm512_castps_pd(ab_high));
        let (cd_low, cd_high) = (_mm512_castps_pd(cd_low), _mm512_castps_pd(cd_high));
        fours[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_low, cd_low));
        fours[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_low, cd_low));
        fours[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high));
        fours[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high));
    }
    let mut columns = [_mm512_setzero_ps(); 16];
    for j in 0..4 {
        let front = _mm512_shuffle_f32x4::<0x44>(fours[j], fours[4 + j]);
        let front_of_last = _mm512_shuffle_f32x4::<0x44>(fours[8 + j], fours[12 + j]);
        let back = _mm512_shuffle_f32x4::<0xee>(fours[j], fours[4 + j]);
        let back_of_last = _mm512_shuffle_f32x4::<0xee>(fours[8 + j], fours[12 + j]);
        columns[j] = _mm512_shuffle_f32x4::<0x88>(front, front_of_last);
        columns[4 + j] = _mm512_shuffle_f32x4::<0xdd>(front, front_of_last);
        columns[8 + j] = _mm512_shuffle_f32x4::<0x88>(back, back_of_last);
        columns[12 + j] = _mm512_shuffle_f32x4::<0xdd>(back, back_of_last);
    }
    columns
}

#[cfg(test)]
mod tests {
    use std::arch::x86_64::{_mm512_loadu_ps, _mm512_storeu_ps};

    use super::*;

    #[allow(unsafe_code)]
    #[target_feature(enable = "avx512f")]
    fn turned(values: &[f32; 256]) -> [f32; 256] {
        let mut result = [0.0; 256];
        // SAFETY: sixteen times sixteen values, both.
        unsafe {
            let lines = std::array::from_fn(|i| _mm512_loadu_ps(values.as_ptr().add(i * 16)));
            for (i, column) in transpose(lines).into_iter().enumerate() {
                _mm512_storeu_ps(result.as_mut_ptr().add(i * 16), column);
            }
        }
        result
    }

    #[test]
    #[allow(unsafe_code)]
    fn lines_become_columns() {
        if !std::arch::is_x86_feature_detected!("avx512f") {
            return;
        }
        let values = std::array::from_fn(|i| i as f32);
        // SAFETY: the processor has AVX-512.
        let result = unsafe { turned(&values) };
        for i in 0..256 {
            assert_eq!(result[i], values[i % 16 * 16 + i / 16], "{i}");
        }
    }
}
