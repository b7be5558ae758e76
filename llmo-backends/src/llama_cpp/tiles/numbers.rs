//! 16-bit floats, for tests.

/// The `f16` below a small number: sign, exponent and the first ten bits.
pub(super) fn half(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    let exponent = ((bits >> 23) & 0xff) as i32 - 112;
    assert!((1..31).contains(&exponent), "{value}");
    (((bits >> 16) & 0x8000) as u16 | (exponent as u16) << 10 | ((bits >> 13) & 0x3ff) as u16).to_le_bytes()
}

/// What an `f16` stands for.
pub(super) fn whole(value: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(value));
    if bits & 0x7fff == 0 {
        return 0.0;
    }
    f32::from_bits((bits & 0x8000) << 16 | ((bits >> 10 & 0x1f) + 112) << 23 | (bits & 0x3ff) << 13)
}
