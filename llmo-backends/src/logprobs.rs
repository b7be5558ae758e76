//! Log probabilities of tokens, from a model's logits as they came: before bias, penalties, temperature and filters.

use llmo_core::model::TokenId;

use crate::sampler::softmax;

/// The log probability of one token and of the likeliest alternatives. Natural logarithm.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Logprobs {
    /// Of the token asked for.
    pub(crate) logprob: f32,
    /// The likeliest tokens at this place, likeliest first; of equals, the lower id first.
    pub(crate) top: Vec<(TokenId, f32)>,
}

/// Log probabilities of `token` and of the `top_n` likeliest tokens. Costs two passes over `logits`.
///
/// A token outside the vocabulary or with a NaN has the log probability minus infinity.
pub(crate) fn logprobs(logits: &[f32], token: TokenId, top_n: usize) -> Logprobs {
    let max = softmax::max(logits);
    let total = softmax::total(logits, max, 1.0);
    let of = |logit: f32| (f64::from(logit - max) - total.ln()) as f32;
    let logprob = logits.get(token as usize).copied().map_or(f32::NEG_INFINITY, of);
    Logprobs {
        logprob: if logprob.is_nan() { f32::NEG_INFINITY } else { logprob },
        top: likeliest(logits, top_n).into_iter().map(|(token, logit)| (token, of(logit))).collect(),
    }
}

/// The `n` largest logits in one pass; `n` is at most 20, so insertion beats a heap.
fn likeliest(logits: &[f32], n: usize) -> Vec<(TokenId, f32)> {
    let mut top: Vec<(TokenId, f32)> = Vec::with_capacity(n + 1);
    for (token, &logit) in logits.iter().enumerate() {
        let enters = top.len() < n || top.last().is_some_and(|(_, least)| logit > *least);
        if enters && logit > f32::NEG_INFINITY && n > 0 {
            let place = top.partition_point(|(_, other)| *other >= logit);
            top.insert(place, (token as TokenId, logit));
            top.truncate(n);
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn probabilities_of_a_small_vocabulary_are_right() {
        let logits = [0.5_f32.ln() + 3.0, 0.25_f32.ln() + 3.0, 0.25_f32.ln() + 3.0];
        let got = logprobs(&logits, 2, 2);
        assert!((got.logprob - 0.25_f32.ln()).abs() < 1e-6);
        assert_eq!(got.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn nan_and_foreign_tokens_have_no_probability() {
        assert_eq!(logprobs(&[0.0, f32::NAN], 1, 5).logprob, f32::NEG_INFINITY);
        assert_eq!(logprobs(&[0.0, f32::NAN], 9, 5).top.len(), 1);
    }

    proptest! {
        #[test]
        fn the_whole_vocabulary_sums_to_one(logits in proptest::collection::vec(-40.0_f32..40.0, 1..300)) {
            let all = logprobs(&logits, 0, logits.len());
            let sum: f64 = all.top.iter().map(|(_, l)| f64::from(*l).exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-4);
            prop_assert!(all.top.is_sorted_by(|a, b| a.1 >= b.1));
        }
    }
}
