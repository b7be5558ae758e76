//! Perplexity: how surprised a model is by a text. The measure of what a cheaper KV cache or cheaper weights cost.
//!
//! The text is the first chapter of Jane Austen's "Pride and Prejudice" (1813, in the public domain). Every model has read
//! it, so the figure says nothing about a model; differences between two ways of running the same model are what counts.

use llmo_core::model::{TokenId, TokenizeOptions};

use crate::llama_cpp::context::{Context, ContextShape};
use crate::llama_cpp::forward::{Feed, Forward};
use crate::llama_cpp::vocabulary::Vocabulary;

/// The shipped text, 4.5 KB.
pub(super) const PROSE: &str = include_str!("prose.txt");

/// Tokens in one run. Their logits are held at once: 64 × 128 000 words × 4 bytes are 32 MB.
const RUN: usize = 64;
/// The first tokens have too little before them to be foreseen.
const UNCOUNTED: usize = 16;

/// The tokens of a text as a model reads them, at most `most`.
pub(super) fn tokens(vocabulary: &Vocabulary, text: &str, most: usize) -> Vec<TokenId> {
    let mut tokens = vocabulary.tokenize(text, TokenizeOptions::default());
    tokens.truncate(most);
    tokens
}

/// The shape of a context for a text of so many tokens.
pub(super) fn shape(like: ContextShape, tokens: usize) -> ContextShape {
    let length = u32::try_from(tokens).unwrap_or(u32::MAX).next_multiple_of(256);
    let run = RUN as u32;
    ContextShape { slots: 1, context_length: length, batch: run, micro_batch: run, prefill_chunk: run, ..like }
}

/// e to the mean negative log likelihood of each token after those before it.
///
/// # Errors
/// If llama.cpp can't run the tokens; if there are too few of them.
pub(super) fn perplexity(context: &mut Context<'_>, tokens: &[TokenId]) -> Result<f64, String> {
    if tokens.len() < 2 * UNCOUNTED {
        return Err(format!("perplexity needs at least {} tokens, got {}", 2 * UNCOUNTED, tokens.len()));
    }
    context.keep(0, 0);
    let (mut sum, mut counted) = (0.0, 0u32);
    for (run, chunk) in tokens.chunks(RUN).enumerate() {
        let start = run * RUN;
        let feed =
            |(position, &token): (usize, &TokenId)| Feed { slot: 0, token, position: position as u32, logits: true };
        let feeds: Vec<Feed> = (start..).zip(chunk).map(feed).collect();
        context.run(&feeds).map_err(|e| e.to_string())?;
        for row in 0..chunk.len() {
            let position = start + row;
            let Some(&next) = tokens.get(position + 1) else { break };
            if position >= UNCOUNTED {
                sum += surprise(context.logits(row), next);
                counted += 1;
            }
        }
    }
    Ok((sum / f64::from(counted)).exp())
}

/// Negative logarithm of the probability that these logits give to a token.
fn surprise(logits: &[f32], token: TokenId) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from((logit - most).exp())).sum();
    sum.ln() - f64::from(logits.get(token as usize).copied().unwrap_or(f32::NAN) - most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certain_token_surprises_nobody_and_a_coin_by_one_bit() {
        assert!(surprise(&[0.0, 1000.0], 1).abs() < 1e-9);
        assert!((surprise(&[5.0, 5.0], 0) - std::f64::consts::LN_2).abs() < 1e-9);
        assert!(surprise(&[0.0, 0.0], 9).is_nan());
    }
}
