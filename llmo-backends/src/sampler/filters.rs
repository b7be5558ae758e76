//! The filters that narrow the distribution, and the draw from what is left.
//!
//! Every filter keeps at least one candidate. Ties are broken by token id, so that the result depends on nothing but
//! the logits. The first filter reads the whole vocabulary and takes out what may stay, in vector instructions; only
//! that is ever sorted. A full sort of 49 152 logits would take milliseconds.

use std::cmp::Ordering;

use llmo_core::model::TokenId;

use super::softmax;

/// How many candidates are sorted at first when a filter needs the likeliest; multiplied until they suffice. Real
/// models put 95 % of the mass on fewer than this nearly always.
const FIRST_SORTED: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) token: TokenId,
    pub(crate) logit: f32,
}

/// What may still be drawn. The buffers are kept between tokens.
#[derive(Debug, Default, Clone)]
pub(crate) struct Candidates {
    entries: Vec<Candidate>,
    /// Deviation from the expected surprise, of each candidate; only for the typical filter.
    deviations: Vec<(f32, Candidate)>,
    /// This many entries at the front are sorted, likeliest first, and none behind them is likelier.
    sorted: usize,
}

// === impl Candidates: from the whole vocabulary ===

impl Candidates {
    /// Every token that has a logit above minus infinity.
    #[cfg(test)]
    pub(crate) fn take_all(&mut self, logits: &[f32]) {
        self.start();
        let tokens = logits.iter().enumerate().filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        self.entries.extend(tokens.map(|(token, &logit)| Candidate { token: token as TokenId, logit }));
    }

    /// The tokens whose logit is at least `least`.
    pub(crate) fn take_above(&mut self, logits: &[f32], least: f32) {
        self.start();
        // Minus infinity is no candidate, whatever is asked.
        let least = least.max(f32::MIN);
        let entries = &mut self.entries;
        softmax::above(logits, least, |token, logit| entries.push(Candidate { token: token as TokenId, logit }));
    }

    /// The `k` likeliest, sorted. `k` is above 0.
    pub(crate) fn take_top_k(&mut self, logits: &[f32], k: usize) {
        /// Tokens that are looked at together.
        const PIECE: usize = 64;
        self.start();
        let room = (2 * k).max(k + PIECE);
        // A token must beat this one, the last of the best so far. Later ids lose against equals.
        let mut least = f32::NEG_INFINITY;
        for (number, piece) in logits.chunks(PIECE).enumerate() {
            if softmax::max(piece) <= least {
                continue;
            }
            let those = piece.iter().enumerate().filter(|(_, logit)| **logit > least);
            let token = |index| (number * PIECE + index) as TokenId;
            self.entries.extend(those.map(|(index, &logit)| Candidate { token: token(index), logit }));
            if self.entries.len() >= room {
                self.entries.select_nth_unstable_by(k - 1, likelier_first);
                self.entries.truncate(k);
                least = self.entries[k - 1].logit;
            }
        }
        self.sort_first(k);
        self.entries.truncate(k);
    }

    /// Nucleus sampling (Holtzman et al., 2020): the likeliest tokens that hold `mass` together, of those at least
    /// `share` as likely as the likeliest. `max` is the largest logit.
    pub(crate) fn take_nucleus(&mut self, logits: &[f32], max: f32, mass: f32, share: f32) {
        let total = softmax::total(logits, max, 1.0);
        // All tokens further below the largest than this hold less than 1 - mass, however many they are.
        let spare = f64::from(1.0 - mass).max(f64::from(f32::EPSILON));
        let depth = (logits.len() as f64 / (spare * total)).ln() + 1e-3;
        let least = (f64::from(max) - depth.max(0.0)) as f32;
        self.take_above(logits, least.max(max + share.ln()));
        self.cut_at(mass, max, total);
    }

    /// Locally typical sampling (Meister et al., 2022): the tokens whose surprise is nearest to the entropy, until they
    /// hold `mass`. `max` is the largest logit.
    pub(crate) fn take_typical(&mut self, logits: &[f32], max: f32, mass: f32) {
        let (total, moment) = softmax::total_and_moment(logits, max);
        let log_total = total.ln();
        let entropy = log_total - moment / total;
        // The logit of a token with exactly the expected surprise.
        let center = f64::from(max) + log_total - entropy;
        let wanted = f64::from(mass) * total * (1.0 + 1e-5);
        let mut reach = 0.25;
        let (low, high) = loop {
            let (low, high) = ((center - reach) as f32, (center + reach) as f32);
            if reach > 200.0 || softmax::total_within(logits, max, low, high) >= wanted {
                break (low, high);
            }
            reach *= 2.0;
        };
        self.take_above(logits, if reach > 200.0 { f32::MIN } else { low });
        if reach <= 200.0 {
            self.entries.retain(|candidate| candidate.logit <= high);
        }
        self.cut_typical(mass, max, log_total, entropy);
    }

    fn start(&mut self) {
        self.entries.clear();
        self.sorted = 0;
    }
}

// === impl Candidates: of what is left ===

impl Candidates {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entries(&self) -> &[Candidate] {
        &self.entries
    }

    /// Keeps the `k` likeliest, sorted.
    pub(crate) fn top_k(&mut self, k: usize) {
        self.sort_first(k);
        self.entries.truncate(k);
    }

    /// As [`take_typical`](Self::take_typical).
    pub(crate) fn typical(&mut self, mass: f32) {
        if mass >= 1.0 || self.entries.len() < 2 {
            return;
        }
        let (max, total) = self.softmax_scale();
        let log_total = total.ln();
        let log_p = |c: &Candidate| below(c.logit, max) - log_total;
        let entropy: f64 = self.entries.iter().map(|c| log_p(c).exp() * -log_p(c)).filter(|h| !h.is_nan()).sum();
        self.cut_typical(mass, max, log_total, entropy);
    }

    /// As [`take_nucleus`](Self::take_nucleus).
    pub(crate) fn top_p(&mut self, mass: f32) {
        if mass < 1.0 {
            let (max, total) = self.softmax_scale();
            self.cut_at(mass, max, total);
        }
    }

    /// Keeps tokens at least `share` as likely as the likeliest.
    pub(crate) fn min_p(&mut self, share: f32) {
        if share <= 0.0 {
            return;
        }
        let max = self.max_logit();
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

    /// The probability of a token among those that are left; `None` if it is not.
    pub(crate) fn probability(&self, token: TokenId, temperature: f32) -> Option<f64> {
        let max = self.max_logit();
        let found = self.entries.iter().find(|c| c.token == token)?;
        let total: f64 = self.entries.iter().map(|c| weight(c.logit, max, temperature)).sum();
        Some(weight(found.logit, max, temperature) / total)
    }

    fn cut_at(&mut self, mass: f32, max: f32, total: f64) {
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

    fn cut_typical(&mut self, mass: f32, max: f32, log_total: f64, entropy: f64) {
        let log_p = |c: &Candidate| below(c.logit, max) - log_total;
        self.deviations.clear();
        self.deviations.extend(self.entries.iter().map(|c| ((-log_p(c) - entropy).abs() as f32, *c)));
        let nearest_first =
            |a: &(f32, Candidate), b: &(f32, Candidate)| a.0.total_cmp(&b.0).then_with(|| likelier_first(&a.1, &b.1));
        let (mut held, mut kept, mut sorted) = (0.0, 0, 0);
        self.entries.clear();
        while kept < self.deviations.len() {
            if kept == sorted {
                sorted = FIRST_SORTED.max(kept * 8).min(self.deviations.len());
                if sorted < self.deviations.len() {
                    self.deviations.select_nth_unstable_by(sorted, nearest_first);
                }
                self.deviations[..sorted].sort_unstable_by(nearest_first);
            }
            let candidate = self.deviations[kept].1;
            self.entries.push(candidate);
            kept += 1;
            held += log_p(&candidate).exp();
            if held >= f64::from(mass) {
                break;
            }
        }
        self.sorted = 0;
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
        if count <= self.sorted {
            return;
        }
        if count < self.entries.len() {
            self.entries.select_nth_unstable_by(count, likelier_first);
        }
        self.entries[..count].sort_unstable_by(likelier_first);
        self.sorted = count;
    }
}

/// Draws from the softmax of all logits divided by `temperature`, with no filter; `at` is uniform in `0.0..1.0`, `max`
/// the largest logit. `sums` is a scratch buffer.
pub(crate) fn choose_from_all(logits: &[f32], max: f32, temperature: f32, at: f64, sums: &mut Vec<f64>) -> TokenId {
    const BLOCK: usize = 1024;
    sums.clear();
    sums.extend(logits.chunks(BLOCK).map(|block| softmax::total(block, max, temperature)));
    let mut left = at * sums.iter().sum::<f64>();
    // Rounding may leave a hair of mass over: then the last block that has any.
    let mut chosen = sums.iter().rposition(|&sum| sum > 0.0).unwrap_or(0);
    for (block, &sum) in sums.iter().enumerate() {
        if left < sum {
            chosen = block;
            break;
        }
        left -= sum;
    }
    let start = chosen * BLOCK;
    let mut last = start;
    for (token, &logit) in logits.iter().enumerate().skip(start).take(BLOCK) {
        let weight = f64::from(softmax::exp((logit - max) / temperature));
        if weight > 0.0 {
            last = token;
            if left < weight {
                break;
            }
            left -= weight;
        }
    }
    last as TokenId
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
