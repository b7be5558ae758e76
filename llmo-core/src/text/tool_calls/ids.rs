//! Ids of calls.

use super::ToolFormat;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The id of a call: of this form, answer (`seed`) and place in it. Mistral's templates refuse any but nine letters and
/// digits.
pub(super) fn id(format: ToolFormat, seed: u64, index: u32) -> String {
    let (prefix, length) = if format == ToolFormat::Mistral { ("", 9) } else { ("call_", 24) };
    let mut state = seed ^ u64::from(index).wrapping_mul(0xA24B_AED4_963E_E407);
    let letters = (0..length).map(|_| {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        char::from(LETTERS[((z ^ (z >> 31)) % LETTERS.len() as u64) as usize])
    });
    prefix.chars().chain(letters).collect()
}
