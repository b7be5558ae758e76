//! What "fast" means: speeds at several points, put together by weights.
//!
//! A choice that is best for one stream on an empty cache can be three times slower with eight streams or a long context.
//! So every candidate is measured at all points, and scored by the weighted geometric mean of its speeds: a gain of 10 % at
//! one point outweighs a loss of 10 % at another of the same weight, whatever their absolute speeds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something to be fast at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Point {
    /// Reading a prompt, behind so many tokens.
    Prefill {
        /// Tokens that came before.
        depth: u32,
    },
    /// Generating.
    Decode {
        /// Streams.
        batch: u32,
        /// Tokens in the cache of each.
        depth: u32,
    },
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = |depth: u32| if depth < 1000 { depth.to_string() } else { format!("{}k", depth / 1000) };
        match self {
            Self::Prefill { depth: at } => f.pad(&format!("read@{}", depth(*at))),
            Self::Decode { batch, depth: at } => f.pad(&format!("{batch}x@{}", depth(*at))),
        }
    }
}

impl Point {
    /// How much it counts.
    ///
    /// Reading counts a quarter. Of generating, one stream and several count alike, an empty cache and 1000 tokens too; wide
    /// batches and long contexts, which are rarer on a machine without a graphics card, count half.
    #[must_use]
    pub fn weight(self) -> f64 {
        match self {
            Self::Prefill { depth: 0 } => 1.5,
            Self::Prefill { .. } => 1.0,
            Self::Decode { batch, depth } => {
                let wide = if batch > 8 { 0.5 } else { 1.0 };
                let deep = if depth > 2000 { 0.5 } else { 1.0 };
                2.0 * wide * deep
            }
        }
    }
}

/// Speeds of one candidate: tokens a second, of all streams together, at each point.
pub type Speeds = Vec<(Point, f64)>;

/// How many times as fast `speeds` are as `reference`, over the points that both have; 1 if there is none.
#[must_use]
pub(super) fn ratio(speeds: &Speeds, reference: &Speeds) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (point, speed) in speeds {
        let Some((_, other)) = reference.iter().find(|(p, _)| p == point) else { continue };
        if *speed > 0.0 && *other > 0.0 {
            sum += point.weight() * (speed / other).ln();
            weights += point.weight();
        }
    }
    if weights > 0.0 { (sum / weights).exp() } else { 1.0 }
}

/// The median at each point of several measurements.
pub(super) fn medians(samples: &[Speeds]) -> Speeds {
    let points = samples.first().into_iter().flatten().map(|(point, _)| *point);
    let at = |point: Point| samples.iter().filter_map(move |s| s.iter().find(|(p, _)| *p == point).map(|(_, v)| *v));
    points.map(|point| (point, median(at(point).collect()))).collect()
}

/// The middle value; the lower one of two. 0 of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Point = Point::Decode { batch: 1, depth: 0 };
    const EIGHT: Point = Point::Decode { batch: 8, depth: 0 };
    const WIDE: Point = Point::Decode { batch: 32, depth: 0 };

    #[test]
    fn gains_and_losses_of_equal_weight_cancel_out() {
        let reference = vec![(ONE, 100.0), (EIGHT, 300.0)];
        assert!((ratio(&vec![(ONE, 200.0), (EIGHT, 150.0)], &reference) - 1.0).abs() < 1e-12);
        assert!((ratio(&vec![(ONE, 110.0), (EIGHT, 330.0)], &reference) - 1.1).abs() < 1e-12);
        assert!((ratio(&Vec::new(), &reference) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn wide_batches_count_less() {
        let reference = vec![(ONE, 100.0), (WIDE, 100.0)];
        assert!(ratio(&vec![(ONE, 120.0), (WIDE, 83.0)], &reference) > 1.03);
        assert!(ratio(&vec![(ONE, 83.0), (WIDE, 120.0)], &reference) < 0.97);
    }

    #[test]
    fn one_outlier_does_not_move_the_median() {
        assert!((median(vec![3.0, 1000.0, 1.0]) - 3.0).abs() < 1e-9);
        let samples = [vec![(ONE, 10.0)], vec![(ONE, 1.0)], vec![(ONE, 11.0)]];
        assert_eq!(medians(&samples), [(ONE, 10.0)]);
    }
}
