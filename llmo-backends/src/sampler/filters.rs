//! The filters that narrow the distribution, and the draw from what is left.
//!
//! Every filter keeps at least one candidate. Ties are broken by token id, so that the result depends on nothing but
//! the logits.

use std::cmp::Ordering;

use llmo_core::model::TokenId;

/// How many candidates are sorted at first when a filter needs the likeliest; multiplied until they suffice. Real
/// models put 95 % of the mass on fewer than this nearly always, and sorting a whole vocabulary takes milliseconds.
const FIRST_SORTED: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) token: TokenId,
    pub(crate) logit: f32,
}

/// What may still be drawn. The buffers are kept between tokens.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    entries: Vec<Candidate>,
    /// Deviation from the expected surprise, of each candidate; only for the typical filter.
    deviations: Vec<(f32, Candidate)>,
    /// This many entries at the front are sorted, likeliest first, and none behind them is likelier.
    sorted: usize,
}

impl Candidates {
    /// Starts over with every token that has a logit above minus infinity.
    pub(crate) fn fill(&mut self, logits: &[f32]) {
        self.entries.clear();
        self.sorted = 0;
        let tokens = logits.iter().enumerate().filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        self.entries.extend(tokens.map(|(token, &logit)| Candidate { token: token as TokenId, logit }));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keeps the `k` likeliest; 0 keeps all.
    pub(crate) fn top_k(&mut self, k: usize) {
        if k > 0 && k < self.entries.len() {
            self.sort_first(k);
            self.entries.truncate(k);
        }
    }

    /// Locally typical sampling (Meister et al., 2022): keeps the tokens whose surprise is nearest to the entropy until
    /// they hold `mass`.
    pub(crate) fn typical(&mut self, mass: f32) {
        if mass >= 1.0 || self.entries.len() < 2 {
            return;
        }
        let (max, total) = self.softmax_scale();
        let log_total = total.ln();
        let log_p = |c: &Candidate| below(c.logit, max) - log_total;
        let entropy: f64 = self.entries.iter().map(|c| log_p(c).exp() * -log_p(c)).filter(|h| !h.is_nan()).sum();
        self.deviations.clear();
        self.deviations.extend(self.entries.iter().map(|c| ((-log_p(c) - entropy).abs() as f32, *c)));
        self.deviations.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then_with(|| likelier_first(&a.1, &b.1)));
        let mut held = 0.0;
        self.entries.clear();
        for (_, candidate) in &self.deviations {
            self.entries.push(*candidate);
            held += (below(candidate.logit, max) - log_total).exp();
            if held >= f64::from(mass) {
                break;
            }
        }
        self.sorted = 0;
    }

    /// Nucleus sampling (Holtzman et al., 2020): keeps the likeliest until they hold `mass`.
    pub(crate) fn top_p(&mut self, mass: f32) {
        if mass >= 1.0 {
            return;
        }
        let (max, total) = self.softmax_scale();
        let mut held = 0.0;
        let mut kept = 0;
        while kept < self.entries.len() {
            if kept == self.sorted {
                self.sort_first(FIRST_SORTED.max(kept * 8));
            }
            held += weight(self.entries[kept].logit, max, 1.0) / total;
            kept += 1;
            if held >= f64::from(mass) {
                break;
            }
        }
        self.entries.truncate(kept);
        self.sorted = self.sorted.min(kept);
    }

    /// Keeps tokens at least `share` as likely as the likeliest.
    pub(crate) fn min_p(&mut self, share: f32) {
        if share <= 0.0 {
            return;
        }
        let (max, _) = self.softmax_scale();
        let least = max + share.ln();
        self.entries.retain(|c| c.logit >= least || c.logit == max);
        self.sorted = 0;
    }

    /// Draws from the softmax of the logits divided by `temperature`; `at` is uniform in `0.0..1.0`.
    pub(crate) fn choose(&self, temperature: f32, at: f64) -> TokenId {
        let max = self.max_logit();
        let weight = |c: &Candidate| weight(c.logit, max, temperature);
        let mut left = at * self.entries.iter().map(weight).sum::<f64>();
        let mut last = 0;
        for candidate in &self.entries {
            let weight = weight(candidate);
            if weight > 0.0 {
                last = candidate.token;
                if left < weight {
                    break;
                }
                left -= weight;
            }
        }
        // Reached without the break only when rounding left a hair of mass over.
        last
    }

    fn max_logit(&self) -> f32 {
        self.entries.iter().fold(f32::NEG_INFINITY, |max, c| max.max(c.logit))
    }

    /// The largest logit and the sum of `exp(logit - largest)`.
    fn softmax_scale(&self) -> (f32, f64) {
        let max = self.max_logit();
        (max, self.entries.iter().map(|c| weight(c.logit, max, 1.0)).sum())
    }

    fn sort_first(&mut self, count: usize) {
        let count = count.min(self.entries.len());
        if count < self.entries.len() {
            self.entries.select_nth_unstable_by(count, likelier_first);
        }
        self.entries[..count].sort_unstable_by(likelier_first);
        self.sorted = count;
    }
}

/// How far a logit is below the largest. Zero for the largest itself even if it is infinite, where subtraction gives NaN.
fn below(logit: f32, max: f32) -> f64 {
    if logit == max { 0.0 } else { f64::from(logit) - f64::from(max) }
}

/// Unnormalised probability.
fn weight(logit: f32, max: f32, temperature: f32) -> f64 {
    (below(logit, max) / f64::from(temperature)).exp()
}

fn likelier_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then_with(|| a.token.cmp(&b.token))
}
