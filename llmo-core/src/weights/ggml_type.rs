//! The ways in which ggml stores a tensor's numbers: blocks of a fixed number of weights and of bytes.
//!
//! The table follows llama.cpp's `ggml.h` and `ggml-common.h` of 2026. A removed type is refused like an unknown one.

use super::WeightsError;

/// A ggml tensor type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GgmlType {
    /// The number that stands for it in a file.
    pub id: u32,
    /// Its name, as in `Q4_1`.
    pub name: &'static str,
    /// Weights in a block.
    pub block_weights: u64,
    /// Bytes of a block.
    pub block_bytes: u64,
}

const fn ggml(id: u32, name: &'static str, block_weights: u64, block_bytes: u64) -> GgmlType {
    GgmlType { id, name, block_weights, block_bytes }
}

/// All types that files may have, by number.
const TYPES: [GgmlType; 35] = [
    ggml(0, "F32", 1, 4),
    ggml(1, "F16", 1, 2),
    ggml(2, "Q4_0", 32, 18),
    ggml(3, "Q4_1", 32, 20),
    ggml(6, "Q5_0", 32, 22),
    ggml(7, "Q5_1", 32, 24),
    ggml(8, "Q8_0", 32, 34),
    ggml(9, "Q8_1", 32, 36),
    ggml(10, "Q2_K", 256, 84),
    ggml(11, "Q3_K", 256, 110),
    ggml(12, "Q4_K", 256, 144),
    ggml(13, "Q5_K", 256, 176),
    ggml(14, "Q6_K", 256, 210),
    ggml(15, "Q8_K", 256, 292),
    ggml(16, "IQ2_XXS", 256, 66),
    ggml(17, "IQ2_XS", 256, 74),
    ggml(18, "IQ3_XXS", 256, 98),
    ggml(19, "IQ1_S", 256, 50),
    ggml(20, "IQ4_NL", 32, 18),
    ggml(21, "IQ3_S", 256, 110),
    ggml(22, "IQ2_S", 256, 82),
    ggml(23, "IQ4_XS", 256, 136),
    ggml(24, "I8", 1, 1),
    ggml(25, "I16", 1, 2),
    ggml(26, "I32", 1, 4),
    ggml(27, "I64", 1, 8),
    ggml(28, "F64", 1, 8),
    ggml(29, "IQ1_M", 256, 56),
    ggml(30, "BF16", 1, 2),
    ggml(34, "TQ1_0", 256, 54),
    ggml(35, "TQ2_0", 256, 66),
    ggml(39, "MXFP4", 32, 17),
    ggml(40, "NVFP4", 64, 36),
    ggml(41, "Q1_0", 128, 18),
    ggml(42, "Q2_0", 64, 18),
];

impl GgmlType {
    /// The type of this number.
    ///
    /// # Errors
    /// [`WeightsError::Invalid`] for a number that no type has.
    pub fn from_id(id: u32) -> Result<Self, WeightsError> {
        TYPES
            .iter()
            .find(|known| known.id == id)
            .copied()
            .ok_or_else(|| WeightsError::invalid(format!("{id} is not a known ggml tensor type")))
    }

    /// Bytes of a tensor with `row` weights a row and `weights` in all; `None` if rows are not whole blocks.
    pub(super) fn bytes_of(self, row: u64, weights: u64) -> Option<u64> {
        if !row.is_multiple_of(self.block_weights) {
            return None;
        }
        (weights / self.block_weights).checked_mul(self.block_bytes)
    }
}

/// The name of a whole file's quantisation by the number in `general.file_type` (llama.cpp's `llama_ftype`).
pub(super) fn file_type_name(number: u64) -> Option<&'static str> {
    Some(match number & !1024 {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_and_unknown_types_are_refused() {
        for id in [4, 5, 31, 32, 33, 36, 37, 38, 43, u32::MAX] {
            assert!(GgmlType::from_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn rows_are_whole_blocks() {
        let q4_1 = GgmlType::from_id(3).unwrap();
        assert_eq!(q4_1.bytes_of(576, 576 * 10), Some(576 * 10 / 32 * 20));
        assert_eq!(q4_1.bytes_of(33, 33), None);
        assert_eq!(GgmlType::from_id(28).unwrap().bytes_of(1, u64::MAX), None);
    }
}
