//! Passes over all logits of a vocabulary, written so that the compiler turns them into vector instructions.
//!
//! Sums are taken in sixteen lanes whatever the machine: the same logits give the same bits everywhere. NaN and minus
//! infinity weigh nothing.

const LANES: usize = 16;
/// Logits of which a lane is summed in f32 before the sum goes on in f64: 64 terms lose no digit that matters.
const BLOCK: usize = 64 * LANES;

/// The largest logit; minus infinity if there is none. NaN is never the largest.
pub(crate) fn max(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = if logit > *lane { logit } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |max, &logit| if logit > max { logit } else { max })
}

/// The sum of `exp((logit - max) / temperature)`; at least 1 where `max` is the largest and finite.
pub(crate) fn total(logits: &[f32], max: f32, temperature: f32) -> f64 {
    logits.chunks(BLOCK).map(|block| block_sum(block, |logit| exp((logit - max) / temperature))).sum()
}

/// The sum of `exp(logit - max)`, and that of `exp(logit - max) * (logit - max)`, from which the entropy follows.
pub(crate) fn total_and_moment(logits: &[f32], max: f32) -> (f64, f64) {
    let moment = |logit: f32| {
        let below = logit - max;
        let weight = exp(below);
        // 0 times minus infinity would be NaN.
        if weight > 0.0 { weight * below } else { 0.0 }
    };
    (total(logits, max, 1.0), logits.chunks(BLOCK).map(|block| block_sum(block, moment)).sum())
}

/// The sum of `exp(logit - max)` over logits in `low..=high`.
pub(crate) fn total_within(logits: &[f32], max: f32, low: f32, high: f32) -> f64 {
    let weight = |logit: f32| if logit >= low && logit <= high { exp(logit - max) } else { 0.0 };
    logits.chunks(BLOCK).map(|block| block_sum(block, weight)).sum()
}

/// Calls `found` with the index of every logit that is at least `least`, in order. Most pieces hold
/// none: they cost a few comparisons of vectors.
pub(crate) fn above(logits: &[f32], least: f32, mut found: impl FnMut(usize, f32)) {
    const PIECE: usize = 4 * LANES;
    for (number, piece) in logits.chunks(PIECE).enumerate() {
        if max(piece) >= least {
            let start = number * PIECE;
            let those = piece.iter().enumerate().filter(|(_, logit)| **logit >= least);
            those.for_each(|(index, &logit)| found(start + index, logit));
        }
    }
}

fn block_sum(block: &[f32], weight: impl Fn(f32) -> f32) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = block.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane += weight(logit);
        }
    }
    let rest: f64 = rest.iter().map(|&logit| f64::from(weight(logit))).sum();
    lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + rest
}

/// `exp(x)` for `x` up to 0, to 2 units in the last place; 0 below -87 and for NaN. No branches and no calls, so that a
/// loop over it is vectorised. The method is that of Cephes: the power of two apart, a polynomial for the rest.
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding this rounds to the nearest whole number, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, so that a multiple of it is subtracted without loss.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let power = rounded - ROUND;
    let rest = x - power * LN_2.0 - power * LN_2.1;
    let polynomial = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5];
    let series = polynomial.iter().fold(1.987_569_1e-4, |sum, coefficient| sum * rest + coefficient);
    let fraction = series * rest * rest + rest + 1.0;
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let scale = f32::from_bits(exponent << 23);
    if x > -87.0 { fraction * scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_exponential_is_exact_to_the_last_digits() {
        for step in 0..870_000_u32 {
            let x = -(step as f32) / 10_000.0;
            let (got, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got / expected - 1.0).abs() < 3e-7, "exp({x}) = {got}, not {expected}");
        }
        assert_eq!((exp(0.0), exp(-1e9), exp(f32::NEG_INFINITY), exp(f32::NAN)), (1.0, 0.0, 0.0, 0.0));
    }

    proptest! {
        #[test]
        fn sums_are_those_of_a_plain_loop(
            logits in proptest::collection::vec(prop_oneof![9 => -40.0_f32..20.0, 1 => Just(f32::NEG_INFINITY)], 1..3_000),
            temperature in 0.1_f32..2.0,
        ) {
            let max = max(&logits);
            prop_assert_eq!(max, logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            prop_assume!(max.is_finite());
            let plain: f64 = logits.iter().map(|&l| ((f64::from(l) - f64::from(max)) / f64::from(temperature)).exp()).sum();
            prop_assert!((total(&logits, max, temperature) / plain - 1.0).abs() < 1e-5);
            let (mid, mut found) = (max - 8.0, Vec::new());
            above(&logits, mid, |index, logit| found.push((index, logit)));
            let expected: Vec<_> = logits.iter().copied().enumerate().filter(|(_, l)| *l >= mid).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
