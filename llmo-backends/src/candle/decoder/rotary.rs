//! Rotary position embedding (Su et al., 2021): each pair of a head's numbers is turned by an angle that grows with the
//! position.
//!
//! Sines are computed for the positions at hand, once for all layers of a kind: a table of the whole context would take
//! 64 MiB for 128k tokens.

use candle_core::{Device, Result, Tensor};

use super::hyperparameters::RotaryPairs;

/// The speed at which each pair of a head turns, in radians a position.
#[derive(Debug)]
pub(super) struct Rotary {
    speeds: Vec<f64>,
    pairs: RotaryPairs,
}

/// Cosines and sines of some positions, each of shape (positions, pairs).
#[derive(Debug)]
pub(super) struct Angles {
    cos: Tensor,
    sin: Tensor,
    pairs: RotaryPairs,
}

impl Rotary {
    /// `factors`: what llama 3.1 divides each speed by, one for each of the `head / 2` pairs.
    pub(super) fn new(head: usize, base: f64, scale: f64, factors: Option<&[f32]>, pairs: RotaryPairs) -> Self {
        let speed = |pair: usize| {
            let factor = factors.and_then(|factors| factors.get(pair)).map_or(1.0, |factor| f64::from(*factor));
            base.powf(-2.0 * pair as f64 / head as f64) / scale / factor
        };
        Self { speeds: (0..head / 2).map(speed).collect(), pairs }
    }

    pub(super) fn angles(&self, first: usize, count: usize) -> Result<Angles> {
        let angles: Vec<f64> = (first..first + count)
            .flat_map(|position| self.speeds.iter().map(move |speed| position as f64 * speed))
            .collect();
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|angle| of(*angle) as f32).collect();
            Tensor::from_vec(values, (count, self.speeds.len()), &Device::Cpu)
        };
        Ok(Angles { cos: table(f64::cos)?, sin: table(f64::sin)?, pairs: self.pairs })
    }
}

impl Angles {
    /// Turns `x` of shape (1, heads, positions, head); contiguous.
    pub(super) fn turn(&self, x: &Tensor) -> Result<Tensor> {
        match self.pairs {
            RotaryPairs::Interleaved => candle_nn::rotary_emb::rope_i(x, &self.cos, &self.sin),
            RotaryPairs::Halves => candle_nn::rotary_emb::rope(x, &self.cos, &self.sin),
        }
    }
}
