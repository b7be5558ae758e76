//! Counter-based randomness: a number for each (seed, position), with no state between draws.
//!
//! SplitMix64 (Steele, Lea and Flood, 2014), written out because its values must never change with a dependency's
//! version: the same seed gives the same output for as long as the weights are the same.

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number in `0.0..1.0`, uniform over positions and over seeds.
pub(crate) fn uniform(seed: u64, position: u64) -> f64 {
    // The seed is mixed first: streams of neighbouring seeds would otherwise be shifted copies of each other.
    let bits = mix(mix(seed.wrapping_add(GOLDEN_GAMMA)).wrapping_add(position.wrapping_mul(GOLDEN_GAMMA)));
    // 53 bits: every value is exact, and 1.0 can't appear.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_the_same_between_releases() {
        let drawn: Vec<u64> = (0..3).map(|i| (uniform(42, i) * 1e12) as u64).collect();
        assert_eq!(drawn, [697_736_341_615, 343_291_922_098, 955_746_726_131]);
    }

    #[test]
    fn every_tenth_of_the_unit_interval_is_hit_equally_often() {
        let mut counts = [0_u32; 10];
        for i in 0..10_000 {
            counts[(uniform(i % 100, i / 100) * 10.0) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }
}
