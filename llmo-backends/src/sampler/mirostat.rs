//! Mirostat 1 and 2 (Basu et al., 2021), as llama.cpp has them: the output's surprise is held at `tau` by a feedback loop
//! with one number of state, `mu`.

use std::f64::consts::LN_2;

use llmo_core::model::{MirostatParams, TokenId};

use super::filters::Candidates;
use super::softmax;

/// Tokens from which version 1 estimates how steeply probabilities fall. The paper's and llama.cpp's choice.
const ESTIMATED_FROM: usize = 100;

/// The feedback loop of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Mirostat {
    params: MirostatParams,
    temperature: f32,
    /// Bits.
    mu: f32,
}

impl Mirostat {
    pub(super) fn new(params: MirostatParams, temperature: f32) -> Self {
        Self { mu: params.mu.unwrap_or(2.0 * params.tau), params, temperature }
    }

    /// The state: what a sequence is continued with.
    pub(super) fn mu(&self) -> f32 {
        self.mu
    }

    /// Keeps what may be drawn next. `max` is the largest logit.
    pub(super) fn take(&self, candidates: &mut Candidates, logits: &[f32], max: f32) {
        if self.params.version == 1 {
            self.take_estimated(candidates, logits);
        } else {
            // p >= 2^-mu, solved for the logit.
            let log_total = softmax::total(logits, max, self.temperature).ln();
            let below = (f64::from(self.mu) * LN_2 - log_total).max(0.0) * f64::from(self.temperature);
            candidates.take_above(logits, (f64::from(max) - below) as f32);
        }
    }

    fn take_estimated(&self, candidates: &mut Candidates, logits: &[f32]) {
        candidates.take_top_k(logits, ESTIMATED_FROM);
        let (mut of_products, mut of_squares) = (0.0, 0.0);
        for (i, pair) in candidates.entries().windows(2).enumerate() {
            let t = ((i + 2) as f64 / (i + 1) as f64).ln();
            let b = (f64::from(pair[0].logit) - f64::from(pair[1].logit)) / f64::from(self.temperature);
            of_products += t * b;
            of_squares += t * t;
        }
        let steepness = of_products / of_squares;
        let epsilon = steepness - 1.0;
        let n = logits.len() as f64;
        let at_one = 2_f64.powf(self.mu.into()) / n.ln();
        let scale = epsilon * 2_f64.powf(self.mu.into()) / (1.0 - n.powf(-epsilon));
        let scale = if epsilon.abs() < 1e-9 { at_one } else { scale };
        // NaN (a single candidate) becomes 0.
        let k = (scale.powf(1.0 / steepness) as usize).clamp(1, logits.len().max(1));
        if k <= ESTIMATED_FROM {
            candidates.top_k(k);
        } else {
            candidates.take_top_k(logits, k);
        }
    }

    /// Reports the token that was appended, with its probability among those that could be drawn.
    pub(super) fn learn(&mut self, candidates: &Candidates, token: TokenId) {
        // A token that could not be drawn was not drawn: it says nothing about the loop.
        if let Some(probability) = candidates.probability(token, self.temperature) {
            let error = -probability.log2() - f64::from(self.params.tau);
            let next = f64::from(self.mu) - f64::from(self.params.eta) * error;
            if next.is_finite() {
                self.mu = next as f32;
            }
        }
    }
}
